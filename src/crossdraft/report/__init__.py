"""report: figures and tables, drawn from result.json and nothing else."""
