"""`hitfinder stream-sim`: a simulated detector that streams frames."""

from __future__ import annotations

from typing import Any

import click

from hitfinder.cli.optional import require_live_extra
from hitfinder.cli.options import POSITIVE, reader_option

PROTOCOLS = ("v1", "stream2")

FAULTS = (
    *("drop-header", "no-end", "repeat-header", "repeat-end", "gap", "duplicate", "reorder"),
    *("late", "stale", "abort", "garbage", "damage", "huge"),
)

EPILOG = """\b
Examples:
  hitfinder stream-sim run7_master.h5 --protocol stream2 --rate 100 --bind tcp://127.0.0.1:31001
  hitfinder stream-sim run7_master.h5 --protocol v1 --series 3 --fault abort --fault garbage

\b
Faults, every fifth image where single ones are meant:
  drop-header, no-end, repeat-header, repeat-end   messages around the images
  gap, duplicate, reorder, late                    images lost, repeated, exchanged, sent last
  stale, abort                                     images of the series before; series broken off
  garbage, damage, huge                            no messages; spoiled counts; 10^9 pixels claimed
"""


@click.command("stream-sim", epilog=EPILOG)
@click.argument("frames", nargs=-1, required=True, metavar="FRAMES...")
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="stream2", show_default=True)
@click.option("--rate", type=POSITIVE, default=10.0, show_default=True, metavar="HZ")
@click.option(
    "--bind", "address", default="tcp://127.0.0.1:31001", show_default=True, metavar="ADDRESS"
)
@click.option(
    "--series", type=click.IntRange(1), default=1, show_default=True, help="Series to send."
)
@click.option(
    "--first-series", type=click.IntRange(0), default=1, show_default=True, metavar="NUMBER"
)
@click.option(
    "--images",
    type=click.IntRange(1),
    metavar="N",
    help="Frames of a series, those of FRAMES over and over.  [default: as many as there are]",
)
@click.option(
    "--header-detail",
    type=click.Choice(("none", "basic", "all")),
    default="all",
    show_default=True,
)
@click.option("--appendix", default="", metavar="TEXT", help="Add this to the header.")
@click.option(
    "--fault",
    "faults",
    type=click.Choice(FAULTS),
    multiple=True,
    help="Let this go wrong; once for each.",
)
@click.option("--timeout", type=POSITIVE, metavar="S", help="Give up if no client comes.")
@reader_option
def stream_sim(
    frames: tuple[str, ...],
    protocol: str,
    rate: float,
    address: str,
    series: int,
    first_series: int,
    images: int | None,
    reader: str | None,
    timeout: float | None,
    **rest: Any,
) -> None:
    """Send FRAMES as a DECTRIS detector streams them.

    It waits for a client, then sends a header, the images at the rate, and an end. As a detector
    does, it never waits for a client that is too slow: the images are dropped and counted.
    """
    require_live_extra()
    from hitfinder.io.open import open as open_frames
    from hitfinder.io.simplon.simulated import SimulatedDetector, StreamSender, send_stream
    from hitfinder.progress import counting

    detector = SimulatedDetector(protocol, rate, series, images, first_series, **rest)
    with open_frames(frames, reader=reader) as source:
        sender = StreamSender(address)
        try:
            n_images = series * (images or len(source))
            with counting("images", n_images) as advance:
                sent = send_stream(source, detector, sender, timeout_s=timeout, advance=advance)
        except BaseException:
            sender.close(linger_ms=0)
            raise
        sender.close()
    rate_hz = sent.images / sent.seconds if sent.seconds else 0.0
    click.echo(
        f"sent {sent.images} images in {sent.messages} messages, {rate_hz:.4g} a second, "
        f"{sent.dropped} dropped"
    )
