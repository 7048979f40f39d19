"""workflow: commands as steps, and a study as resumable steps."""
