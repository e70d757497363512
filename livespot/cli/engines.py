"""Commands about engines: built for the GPU of this machine."""

from typing import Annotated

import typer
from rich.markup import escape

from livespot.cli.common import JsonOption, err, examples, out, print_json
from livespot.errors import SettingsError

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "livespot build yap2022",
        "livespot build engines/default.onnx --batch 1,16",
        "livespot build engines/default.onnx --version-compatible --hardware-compatible",
    )
)
def build(
    model: Annotated[str, typer.Argument(help="An engine that comes with livespot, or an ONNX file.")],
    batch: Annotated[
        str | None,
        typer.Option(
            help="Clips at once, rising, such as 1,16: other numbers are filled up or split. Left out: for one "
            "camera, a few and many."
        ),
    ] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="For later TensorRT of the same major version, too.")
    ] = False,
    hardware_compatible: Annotated[
        bool, typer.Option("--hardware-compatible", help="For all GPUs of the same compute capability.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build the TensorRT engine of a network, for this machine's GPU and TensorRT. Takes a minute or more, once.

    It is kept in ~/.cache/livespot/engines, or in XDG_CACHE_HOME, with its log, speed and parity in a JSON file beside
    it, and used from then on wherever --engine is auto or tensorrt. After an update of TensorRT, build it again.
    """
    from livespot.infer.building import BATCHES
    from livespot.infer.building import build as build_engine

    batches = BATCHES if batch is None else _batches(batch)
    with err.status("building and comparing with ONNX Runtime"):
        built = build_engine(model, batches, version_compatible, hardware_compatible)
    report = built.plan.report()
    if as_json:
        figures = {name: value for name, value in report.items() if name != "log"}
        print_json({"engine": str(built.plan.path), "built": built.why, **figures})
        return
    err.print(f"built: {escape(built.why)}" if built.why else "built already", soft_wrap=True)
    speed = ", ".join(f"{clips}: {ms:g} ms" for clips, ms in report["median_ms"].items())
    err.print(f"clips at once: {speed}; at most {report['parity']['largest_difference']:.1e} from ONNX Runtime")
    out.print(escape(str(built.plan.path)), soft_wrap=True, highlight=False)


def _batches(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(f"--batch {text}: expected rising numbers from 1, such as 1,8,64") from None
