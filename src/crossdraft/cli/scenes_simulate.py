"""`crossdraft scenes simulate`: the events that a video's motion would cause."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossdraft.base.errors import InputError
from crossdraft.cli.json_out import print_json
from crossdraft.cli.making import sigterm_interrupts
from crossdraft.cli.options import parse_size

if TYPE_CHECKING:
    from crossdraft.scenes.simulate_video import Simulated


def simulate(
    video: Annotated[
        Path,
        typer.Argument(metavar="VIDEO", help="Any video: mp4, mkv, webm, …", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the dataset; new or empty.")],
    threshold_on: Annotated[
        float, typer.Option(help="Rise of log intensity that makes an event.")
    ] = 0.15,
    threshold_off: Annotated[
        float, typer.Option(help="Fall of log intensity that makes an event.")
    ] = 0.15,
    threshold_sigma: Annotated[
        float, typer.Option(help="Spread of both thresholds over the pixels.")
    ] = 0.03,
    refractory: Annotated[
        str | None,
        typer.Option(help="Rest of a pixel after an event, such as 100us.", show_default="none"),
    ] = None,
    leak_hz: Annotated[
        float, typer.Option(help="Events per second of a pixel that sees no change.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the thresholds' spread.")] = 0,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH", help="Resize the video, such as 640x480.", show_default="as it is"
        ),
    ] = None,
    duration: Annotated[
        str | None, typer.Option(help="Only the beginning, such as 5s.", show_default="all")
    ] = None,
    drive: Annotated[
        str | None, typer.Option(help="Name of the drive.", show_default="the video's")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Compute the events that an event camera would have seen, and write a dataset.

    Light is taken to change steadily (in its logarithm) from frame to frame: where things move by
    more than a pixel or so in a frame, events are smeared over time. The manifest and every
    result say that the events are simulated.

    Example: crossdraft scenes simulate drive.mp4 --out my_drive --size 640x480 --duration 10s
    """
    from crossdraft.base.result import Result
    from crossdraft.cli.progress import progress_bar
    from crossdraft.scenes.scene import SIMULATED
    from crossdraft.scenes.simulate import SimulatorSettings
    from crossdraft.scenes.simulate_source import video_source
    from crossdraft.scenes.simulate_video import simulate_video
    from crossdraft.scenes.units import parse_duration_us

    try:
        settings = SimulatorSettings(
            threshold_on=threshold_on,
            threshold_off=threshold_off,
            threshold_sigma=threshold_sigma,
            refractory_us=parse_duration_us(refractory, "--refractory") if refractory else 0,
            leak_hz=leak_hz,
        )
    except InputError as error:
        raise InputError(
            error.found, where=_option(error.where), expected=error.expected, hint=error.hint
        ) from error
    source = video_source(
        video,
        parse_size(size, "--size") if size else None,
        parse_duration_us(duration, "--duration") if duration else None,
    )
    with sigterm_interrupts(), progress_bar() as progress:
        made = simulate_video(source, out, settings, seed=seed, drive=drive, progress=progress)
    if as_json:
        config = {
            "video": str(video), "out": str(out), "size": size, "duration": duration,
            "drive": drive, "seed": seed, **settings.to_json(),
        }  # fmt: skip
        result = Result("scenes simulate", made.to_json(), config, [video], [SIMULATED])
        print_json(result.to_json())
    else:
        _show(made)
        print(f"warning: {SIMULATED}")


def _option(where: object) -> str:
    """The option of a setting: `threshold_on` -> `--threshold-on`."""
    name = str(where).replace("_", "-")
    return name if name.startswith("--") else f"--{name}"


def _show(made: Simulated) -> None:
    facts = made.to_json()
    print(f"{'dataset':<14}{made.folder}: scene {made.scene}, {made.width}x{made.height} pixels")
    print(
        f"{'events':<14}{made.events:,} in {made.duration_us / 1e6:.4g} s, "
        f"{100 * made.brighter / made.events:.3g} % brighter"
    )
    print(
        f"{'':<14}{facts['events_per_second'] / 1e6:.3g} million a second, "
        f"{facts['events_per_pixel_second']:.3g} per pixel and second"
    )
    print(
        f"{'frames':<14}{made.frames:,}, at most {made.longest_step_us / 1000:.4g} ms apart; "
        "in between, light is interpolated"
    )
