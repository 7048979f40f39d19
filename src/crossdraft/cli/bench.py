"""`crossdraft bench`: time measured on this machine."""

from __future__ import annotations

import typer

from crossdraft.cli.bench_stages import stages
from crossdraft.cli.bench_verify_cost import verify_cost
from crossdraft.cli.bench_wallclock import wallclock

bench = typer.Typer(help="Measure time on this machine.", no_args_is_help=True)
bench.command(name="verify-cost")(verify_cost)
bench.command(name="stages")(stages)
bench.command(name="wallclock")(wallclock)
