"""What tools/bench does: builds, measures, and writes the page."""

import argparse
import json
import shlex
from dataclasses import replace
from pathlib import Path

import benches
import machine
import page
import peers
import plots
import scale
from plan import FULL, QUICK, Plan

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
FIGURES = DOCS / "performance" / "run.json"


def main() -> None:
    """Measures what was asked for, keeps the figures, and renders them."""
    arguments = parsed()
    if arguments.render:
        run = {"scale": [], **json.loads(FIGURES.read_text())}
    else:
        run = measured(arguments)
        FIGURES.parent.mkdir(exist_ok=True)
        FIGURES.write_text(json.dumps(run, indent=1) + "\n")
    plots.draw(run, FIGURES.parent)
    (DOCS / "performance.md").write_text(page.rendered(run))
    failed = run["failures"]
    for failure in failed:
        print(f"failed: {failure['peer']} {failure['variant']}: {failure['reason']}")
    if failed:
        raise SystemExit(1)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--quick", action="store_true", help="the peers alone, for a second each")
    what.add_argument("--render", action="store_true", help="write the page again from the last run's figures")
    parser.add_argument("--only", nargs="+", metavar="PEER", help="folders of tools/peers; all of them if absent")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of the peers, where not as planned")
    parser.add_argument("--seconds", type=float, metavar="S", help="seconds of each run of a peer, likewise")
    parser.add_argument("--scenario-seconds", type=float, metavar="S", help="seconds of the long scenario, likewise")
    parser.add_argument("--benches", nargs="+", metavar="NAME", help="files of benches/; all of them if absent")
    parser.add_argument(
        "--scale", action="append", metavar="ARGUMENTS", help="run benches/scale.rs with these, and again with others"
    )
    parser.add_argument(
        "--scale-from", action="append", type=Path, metavar="FILE", help="take what benches/scale.rs printed by hand"
    )
    parser.add_argument("--no-benches", action="store_true", help="keep the last run's figures of benches/")
    parser.add_argument("--no-peers", action="store_true", help="keep the last run's figures of the peers")
    return parser.parse_args()


def measured(arguments: argparse.Namespace) -> dict:
    """The figures of one run. What is not measured now stays as the last run left it."""
    plan = QUICK if arguments.quick else FULL
    plan = replace(plan, rounds=arguments.rounds or plan.rounds, seconds=arguments.seconds or plan.seconds)
    if plan.scenario and arguments.scenario_seconds:
        plan = replace(plan, scenario=replace(plan.scenario, seconds=arguments.scenario_seconds))
    run = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    run.setdefault("failures", [])
    run.setdefault("benches", None)
    run.setdefault("scale", [])
    if not arguments.no_peers:
        run |= peers.measured(REPOSITORY, plan, arguments.only)
        run["machine"] = machine.described(REPOSITORY)
    if arguments.benches or (plan.benches and not arguments.no_benches):
        found = {bench["name"]: bench for bench in run["benches"] or []}
        for bench in benches.measured(REPOSITORY, arguments.benches):
            found[bench["name"]] = bench | {"machine": machine.described(REPOSITORY)}
        run["benches"] = [found[name] for name in sorted(found)]
    sizes = [scale.read(file) for file in arguments.scale_from or []]
    sizes += [scale.measured(REPOSITORY, one) for one in scale_arguments(arguments, plan)]
    described = machine.described(REPOSITORY)
    run["scale"] = scale.merged(run["scale"], [one | {"machine": described} for one in sizes])
    return run


def scale_arguments(arguments: argparse.Namespace, plan: Plan) -> list[list[str]]:
    """The runs of benches/scale.rs: those that are asked for, or one with the others of benches/."""
    if arguments.scale:
        return [shlex.split(one) for one in arguments.scale]
    if arguments.benches or arguments.scale_from:
        return [scale.DEFAULT] if benches.APART in (arguments.benches or []) else []
    return [scale.DEFAULT] if plan.benches and not arguments.no_benches else []


if __name__ == "__main__":
    main()
