"""`cm bundle create`, `use`: what a profile needs, carried to where there is no network."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument

COLUMNS = ("file", "sha256")
RELEASES = ("bookworm", "trixie", "debian-12", "debian-13")


def create(args: Namespace, session: Session) -> int:
    """Collect what a profile needs into one archive."""
    from cloudmesh_cluster.operations.bundle.bundle import create as collect

    output = Path(args.output) if args.output else None
    _, made = session.run(
        [],
        lambda emit: collect(
            session.home, args.profile, output, session.environ, emit, provider=args.provider, release=args.release
        ),
    )
    session.show_rows(args, [{"file": name, "sha256": digest} for name, digest in made.files.items()], COLUMNS)
    return 0


def use(args: Namespace, session: Session) -> int:
    """Put what a bundle holds into CM_CACHE."""
    from cloudmesh_cluster.operations.bundle.bundle import use as put

    bundle = session.run([], lambda emit: put(session.home, Path(args.file), emit, sha256=args.sha256))
    session.show_rows(args, [{"file": name, "sha256": digest} for name, digest in bundle.files.items()], COLUMNS)
    return 0


COMMANDS = (
    Command(
        "bundle", "create", "collect what a profile needs into one archive", create, columns=COLUMNS,
        examples=("bundle create -p hadoop", "bundle create -p lab --provider local -o lab.bundle",
                  "bundle create -p demo-cluster --release bookworm"),
        arguments=(
            argument("-p", "--profile", required=True, metavar="PROFILE", completes="profile", help="what is needed"),
            argument("-o", "--output", metavar="FILE", completes="file", help="the archive (default: PROFILE.bundle)"),
            argument("--provider", metavar="PROVIDER", completes="provider", help="where the nodes will come from"),
            argument("--release", choices=RELEASES, default=RELEASES[0], help="their Debian (default: bookworm)"),
        ),
    ),
    Command(
        "bundle", "use", "put what a bundle holds into CM_CACHE, so that create needs no network", use, columns=COLUMNS,
        examples=("bundle use hadoop.bundle", "bundle use hadoop.bundle --sha256 DIGEST"),
        arguments=(
            argument("file", metavar="FILE", completes="file", help="the bundle"),
            argument("--sha256", metavar="DIGEST", help="the SHA-256 that the bundle must have"),
        ),
    ),
)  # fmt: skip
