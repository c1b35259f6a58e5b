"""`python -m explorer`: serve GPT Explorer from this machine. Most imports are late, so that --help is quick."""

import argparse
import errno
import gc
import os
import socket
import sys
from pathlib import Path

from core.cli.arguments import add_engine, add_track, choose_engine
from core.errors import ExplorerError
from core.terminal import prepare_output, print_line

# Set before numpy and torch are loaded. The server computes little while runs train, but spinning thread pools make it
# 40 times slower (a map of 65 letters: 53 ms instead of 1.3 ms on two busy cores).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as in the workers, see core/__main__.py


def main(arguments: list[str] | None = None) -> int:
    """Serve until Ctrl-C. Returns 0, or 2 with one sentence on stderr if the server cannot start."""
    prepare_output()
    options = _parser().parse_args(arguments)
    if options.home:
        os.environ["GPT_EXPLORER_HOME"] = options.home
    try:
        from core.paths import data_dir
        from core.runs.queue import supervisor_lock

        folder = data_dir()
        os.environ["GPT_EXPLORER_HOME"] = str(folder)
        os.chdir(Path(__file__).parents[1])  # Streamlit reads the theme and more only from .streamlit here
        with supervisor_lock(folder / "runs"):
            pass  # fail now if files cannot be locked: no run could be trained
        _set_missing_home(folder)
        check_free(options.address, options.port)
        choose_engine(options)
        if not os.environ.get("GPT_EXPLORER_RAY"):
            _start_fork_server(folder)
        from explorer.web.middleware import AllowedSites, check_access, checked_host_name, checked_origin

        names = tuple(map(checked_host_name, options.host_name))
        check_access(options.address, options.class_title, options.open)
        _choose_trackers(options.track, options.class_title)
        sites = AllowedSites(options.address, names, tuple(map(checked_origin, options.embed_origin)))
        gc.disable()  # imports create hardly any garbage; the running server enables it
        from explorer.web.server import serve

        base_path = options.base_path.strip("/")
        serve(sites, options.port, base_path=base_path, dev=options.dev, class_title=options.class_title)
    except ExplorerError as error:
        print_line(str(error), sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nGPT Explorer has stopped. Runs keep training; start it again to watch.")
    return 0


def _choose_trackers(names: list[str], class_title: str | None) -> None:
    from core.import_export.trackers import NONE, choose_trackers

    if class_title and not {*names} <= {"tensorboard", NONE}:
        raise ExplorerError("What students write is not sent to another service: --track is not for a class.")
    choose_trackers(names)


def _start_fork_server(folder: Path) -> None:
    """Start the workers' imports now, on another core than the server's: later they would slow down the first page."""
    from core.runs.engines.fork_server import FORK_SERVER

    FORK_SERVER.ensure_running(folder)


def _set_missing_home(otherwise: Path) -> None:
    """Set HOME if the user has no home folder: Streamlit looks for its settings there and exits without one."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(otherwise)


def check_free(address: str, port: int) -> None:
    """Raise ExplorerError, which says what to do, if the server cannot listen at this address and port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name != "nt":  # as the server does: a port that was closed a moment ago counts as free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise ExplorerError(_sentence(error, address, port)) from None


def _sentence(error: OSError, address: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is in use, perhaps by a GPT Explorer that already runs at http://{address}:{port}. "
            f"Open that page, or choose another port: python -m explorer --port {port + 1 if port < 65535 else 8501}"
        )
    if error.errno == errno.EACCES:
        return f"This user may not listen on port {port}. Choose one above 1023: python -m explorer --port 8501"
    return (
        f"GPT Explorer cannot listen at {address} port {port} ({error.strerror or error}). "
        "The address must be one of this machine's: 127.0.0.1 for you alone, 0.0.0.0 for everyone in the network, "
        "who may then change and delete everything."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m explorer",
        description="GPT Explorer: train a bigram model or a GPT on any text and watch it learn, in your browser.",
    )
    parser.add_argument("--port", type=_port, default=8501, help="where the page is served (default: 8501)")
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help="who can reach it: 127.0.0.1 is you alone (default), 0.0.0.0 everyone in your network, which needs "
        "--class or --open",
    )
    parser.add_argument(
        "--class",
        dest="class_title",
        metavar="TITLE",
        help='serve a class, such as "Physics 11b": students join with a code and a nickname and see their own runs '
        "and texts; the terminal shows code and teacher's link",
    )
    parser.add_argument(
        "--open",
        action="store_true",
        help="let everybody who can reach the address start, stop, rename and delete any run and text",
    )
    parser.add_argument(
        "--host-name",
        metavar="NAME",
        action="append",
        default=[],
        help="a further name or address by which browsers reach it, such as that of a proxy; may be given several "
        "times. Requests for other names are refused (default: this machine's own)",
    )
    parser.add_argument(
        "--embed-origin",
        metavar="ORIGIN",
        action="append",
        default=[],
        help="a site that may show it in a frame, such as https://moodle.school.edu; may be given several times "
        "(default: none)",
    )
    add_track(parser)
    parser.add_argument("--home", help="folder for runs and texts (default: ~/.gpt-explorer)")
    add_engine(parser)
    parser.add_argument("--base-path", default="", help="path under which a proxy serves it, such as gpt")
    parser.add_argument(
        "--dev", action="store_true", help="for work on GPT Explorer: reload on change, show tracebacks"
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a whole number from 1 to 65535, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
