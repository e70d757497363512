"""Commands that learn: videos to learn from, training, engines."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from livespot.cli.common import (
    JsonOption,
    carry_out,
    check_output,
    counted,
    err,
    examples,
    out,
    print_json,
    train_extra,
    write_json,
)
from livespot.errors import SettingsError
from livespot.records import MAX_FPS

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "livespot synth videos/ --faces portraits/ --videos 100",
        "livespot synth calm/ --faces portraits/ --calm --fps 200 --seconds 10",
        "livespot synth both/ --faces portraits/ --clips clips/ --seed 7 --jobs 4",
    )
)
def synth(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; a run that was ended goes on.")],
    faces: Annotated[Path | None, typer.Option(help="Folder of portraits, one face each: they are animated.")] = None,
    clips: Annotated[Path | None, typer.Option(help="Folder of videos of a face: its skin is moved.")] = None,
    videos: Annotated[int, typer.Option(min=1, help="How many; portraits and clips take turns.")] = 10,
    seconds: Annotated[float, typer.Option(min=2, max=86400, help="Length of a portrait's video.")] = 30.0,
    fps: Annotated[float, typer.Option(min=10, max=MAX_FPS, help="Frames a second of a portrait's video.")] = 30.0,
    seed: Annotated[int, typer.Option(min=0, help="Other faces, doing other things.")] = 0,
    calm: Annotated[bool, typer.Option("--calm", help="Nothing is expressed; all else happens.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes, each of which makes a video at a time.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Make videos of synthetic expressions with exact labels.

    labels.csv has a row for each expression; beside each video a .npz holds displacements, action units and pose of the
    head at every frame; videos.json says how each was filmed. Ctrl-C ends it; the same command goes on.
    """
    from livespot.synth.videos import Order, Videos

    made = Videos(folder, Order(faces, clips, videos, seconds, fps, seed, calm), jobs)
    carry_out(made)
    summary = made.summary()
    for why in made.left_out.values():
        err.print(f"[yellow]left out:[/] {escape(why)}", soft_wrap=True)
    if as_json:
        print_json(summary)
    else:
        shown = f"{counted(summary['micro'], 'micro-expression')} and {counted(summary['macro'], 'macro-expression')}"
        out.print(
            f"{counted(summary['videos'], 'video')}, {summary['minutes']:g} min, {shown}: {escape(summary['labels'])}"
        )
        if made.left_out:
            err.print(f"{counted(len(made.left_out), 'file')} left out")


@commands.command(
    epilog=examples(
        "livespot train configs/train/default.yaml --faces portraits/ --clips clips/ --out runs/default",
        "livespot train configs/train/yap2022.yaml --faces portraits/ --out runs/yap2022",
        "livespot train configs/train/joint.yaml --faces portraits/ --out runs/joint",
        "livespot train configs/train/samm-lv.yaml --loso --data prepared/ --out runs/samm-lv --jobs 4",
    )
)
def train(
    config_file: Annotated[
        Path,
        typer.Argument(help="configs/train/: default, light, joint or yap2022.yaml; --loso: samm-lv or casme2.yaml."),
    ],
    out_dir: Annotated[Path, typer.Option("--out", "-o", help="Checkpoint and metrics; a run there is resumed.")],
    faces: Annotated[Path | None, typer.Option(help="Folder of portraits, one face each.")] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Folder of real videos of faces: expressions are pasted into their motion.")
    ] = None,
    loso: Annotated[
        bool, typer.Option("--loso", help="On a labelled dataset: leave each subject out once, then one table of all.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="With --loso: what `livespot prepare` made.")] = None,
    fold: Annotated[str | None, typer.Option(help="With --loso: leave out this subject alone.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="With --loso: subjects at a time, each in its own process.")] = 1,
) -> None:
    """Train a network on expressions put into portraits, or on a labelled dataset. Needs the train extra.

    Those on motion, default.yaml and joint.yaml, first record portraits that perform, which takes longer than training.
    Kill it whenever you like: the same command goes on where it was. Curves: tensorboard --logdir runs

    With --loso every subject is scored once by a network that never saw it; epoch and threshold come from the others.
    """
    with train_extra():
        from livespot.training import joint_loop, loop, motion_loop
        from livespot.training.settings import is_of_dataset, network_of
    if is_of_dataset(config_file) != loso:
        raise SettingsError(
            f"{config_file} trains on portraits, not on a dataset: give configs/train/samm-lv.yaml, or leave --loso out"
            if loso
            else f"{config_file} trains on a labelled dataset: give --loso and --data, what `livespot prepare` made"
        )
    if loso:
        _leave_out(config_file, data, out_dir, fold, jobs, faces or clips)
        return
    if data or fold or jobs > 1:
        raise SettingsError(f"--data, --fold and --jobs go with --loso, which {config_file} does not")
    if faces is None:
        raise SettingsError(f"{config_file} trains on portraits: give --faces, a folder of them")
    network = network_of(config_file)
    if network == "motion":
        out.print(motion_loop.train(config_file, out_dir, faces, clips))
    elif clips is not None:
        raise SettingsError(f"{config_file} trains a network on portraits alone: leave --clips out")
    elif network == "joint":
        out.print(joint_loop.train(config_file, out_dir, faces))
    else:
        out.print(loop.train(config_file, out_dir, faces))


def _leave_out(
    config_file: Path, data: Path | None, out_dir: Path, fold: str | None, jobs: int, portraits: Path | None
) -> None:
    from livespot.evaluation import summary
    from livespot.training import loso

    if data is None:
        raise SettingsError("--loso trains on a labelled dataset: give --data, what `livespot prepare` made of it")
    if portraits is not None:
        raise SettingsError("--loso trains on a labelled dataset alone: leave --faces and --clips out")
    table = loso.train(config_file, data, out_dir, fold, jobs)
    out.print(table.protocol, highlight=False)
    for shown in summary.to_rich(table.evaluation):
        out.print(shown, "")
    for note in (*table.notes, *summary.notes(table.evaluation)):
        err.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
    out.print(out_dir, soft_wrap=True)


@commands.command(
    epilog=examples(
        "livespot export runs/default/best.pt engines/default.onnx --faces portraits/",
        "livespot export runs/default/best.pt engines/half.onnx --half --video interview.mp4",
    )
)
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of a training.")],
    onnx: Annotated[Path, typer.Argument(help="Engine to write, engines/NAME.onnx.")],
    faces: Annotated[
        Path | None,
        typer.Option(help="The portraits of the training: thresholds are found on those that it did not see."),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Convolutions in half precision, for GPUs; all else in float32.")
    ] = False,
    video: Annotated[
        str | None, typer.Option(help="Compare scores and events on this video, too; demo://?realtime=0 for one.")
    ] = None,
) -> None:
    """Turn a checkpoint into an engine, compared with PyTorch before it is written. Needs the train extra.

    Without --faces the engine gets thresholds of 0.5. With them it is calibrated on videos of one half of the unseen
    faces and scored on the other half, which takes some minutes; the figures are stored in the engine. Networks on
    motion find these videos beside their checkpoint, or record what is missing.

    With --video the engine and PyTorch both spot that video: how far scores are apart, and whether events are the same,
    is told, and stands in NAME.parity.json beside the engine.
    """
    check_output(onnx, (".onnx",))
    with train_extra():
        from livespot.export import export as write_engine
        from livespot.training.calibrate import calibrate
    if faces is None:
        difference = write_engine(checkpoint, onnx, half=half)
        err.print(f"{onnx} differs from PyTorch by {difference:.1e} at most; not calibrated", soft_wrap=True)
    else:
        with err.status("calibrating on videos of unseen faces"):
            figures = calibrate(checkpoint, faces, onnx, half)
        print_json(figures)
    if video is not None:
        _compare(onnx, checkpoint, video)


@commands.command(
    epilog=examples(
        "livespot join runs/a/best.pt runs/b/best.pt --out runs/a/joined.pt",
        "livespot export runs/a/joined.pt engines/default.onnx --faces portraits",
    )
)
def join(
    checkpoints: Annotated[list[Path], typer.Argument(help="Two or more, of networks on motion.")],
    output: Annotated[Path, typer.Option("--out", help="Checkpoint to write, such as runs/a/joined.pt.")],
) -> None:
    """Join trainings that differ in their seeds alone: their judgements are averaged. Needs the train extra.

    False alarms fall, and a judgement costs so many times as much. What is written is exported as any checkpoint.
    """
    check_output(output, (".pt",))
    with train_extra():
        from livespot.nets.joining import join as joined
    kept = joined(checkpoints)
    kept.save(output)
    err.print(f"{output}: networks of seeds {', '.join(map(str, kept.seeds))}", soft_wrap=True)


def _compare(onnx: Path, checkpoint: Path, video: str) -> None:
    from livespot.parity import compare

    with err.status("comparing with PyTorch on the video"):
        found = compare(onnx, checkpoint, video)
    name = video if video.startswith("demo://") else Path(video).resolve().name
    write_json(onnx.with_suffix(".parity.json"), {"video": name, **asdict(found)})
    same = "the same events" if found.same_events else "[red]other events[/]"
    err.print(
        f"{counted(found.clips, 'clip')}: at most {found.largest_difference:.1e} and in the mean "
        f"{found.mean_difference:.1e} from PyTorch; {counted(found.events, 'event')}, {same}",
        soft_wrap=True,
    )
