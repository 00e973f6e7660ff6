"""What a Tab may complete, for bash, zsh, fish and the `cm` shell, and `cm completion`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Argument, Command, Kind, Tree, argument
from cloudmesh_cluster.cli.words import find_command, positional_words, value_follows
from cloudmesh_cluster.core.errors import CmError
from cloudmesh_cluster.core.home import Home

ROLES = ("all", "master", "worker", "head", "compute")
ASK = "__complete"  # the word by which the functions below ask this program

BASH = """\
# Completion of cm for bash; put this into ~/.bashrc:  source <(cm completion bash)
_cm_complete() {
    local line word=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :files) while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$word") ;;
            *) COMPREPLY+=("${line%%$'\\t'*}") ;;
        esac
    done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o bashdefault -o filenames -F _cm_complete cm
"""

ZSH = """\
#compdef cm
# Completion of cm for zsh; put this into ~/.zshrc after compinit:  source <(cm completion zsh)
_cm() {
    local line files=0
    local -a found
    while IFS= read -r line; do
        if [[ $line == :files ]]; then files=1; continue; fi
        found+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}")
    done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( $#found )) && _describe cm found
    (( files )) && _files
}
compdef _cm cm
"""

FISH = """\
# Completion of cm for fish; put this into a file:  cm completion fish >~/.config/fish/completions/cm.fish
function __cm_complete
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    for line in ($before[1] __complete $before[2..-1] "$word" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$word"
        else
            printf '%s\\n' $line
        end
    end
end
complete --command cm --no-files --arguments '(__cm_complete)'
"""
FUNCTIONS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@dataclass(frozen=True)
class Offer:
    """What may stand at the cursor: words with a line on each, and whether file names may too."""

    words: Mapping[str, str]
    files: bool = False


def offer(line: Sequence[str], tree: Tree, home: Home) -> Offer:
    """Return what completes the last word of a line.

    Args:
        line: the words up to the cursor, without `cm`; the last one is what is being typed, maybe empty.
        tree: all commands.
        home: whose clusters and profiles.

    """
    before, prefix = list(line[:-1]), line[-1] if line else ""
    try:
        command, start = find_command([*before], tree)
    except CmError:  # a word that is no command completes to nothing
        return Offer({})
    if command is None:
        return _matching(_commands(before, tree), prefix)
    return _of_command(command, before[start:], prefix, home)


def _commands(before: Sequence[str], tree: Tree) -> dict[str, str]:
    named = [word for word in before if not word.startswith("-")]
    if named:
        return {action: command.help for action, command in tree.actions(named[0]).items()}
    return {**tree.objects, "--help": "explain", "--version": "print the version"}


def _of_command(command: Command, own: Sequence[str], prefix: str, home: Home) -> Offer:
    if own and own[-1].startswith("-") and own[-1] != "-" and value_follows(own[-1], command):
        return _values(_option(own[-1], command), command, own[:-1], prefix, home)
    given = positional_words(own, command)
    # What cm does not know is the nodes' own; only the files here can be offered.
    if "--" in own or (command.takes_words and len(given) > len(command.positionals)):
        return Offer({}, files=True)
    if prefix.startswith("-"):
        flags = {flag: str(each.options.get("help", "")) for each in command.all_arguments if each.is_option
                 for flag in each.flags}  # fmt: skip
        return _matching({**flags, "--help": "explain"}, prefix)
    expected = _positional(command, len(given))
    return Offer({}, files=command.takes_words) if expected is None else _values(expected, command, own, prefix, home)


def _option(flag: str, command: Command) -> Argument:
    exact = [each for each in command.all_arguments if flag in each.flags]
    short = [each for each in command.all_arguments if f"-{flag[-1]}" in each.flags]
    return (exact or short)[0]


def _positional(command: Command, at: int) -> Argument | None:
    if at < len(command.positionals):
        return command.positionals[at]
    last = command.positionals[-1] if command.positionals else None
    return last if last is not None and last.is_list else None


def _values(expected: Argument, command: Command, own: Sequence[str], prefix: str, home: Home) -> Offer:
    if words := expected.words or expected.options.get("choices"):
        return _matching(dict.fromkeys(words, ""), prefix)
    given = positional_words(own, command)
    offered = _matching(names(expected.completes, home, cluster=given[0] if given else ""), prefix)
    if expected.is_list:
        offered = Offer({word: text for word, text in offered.words.items() if word not in given})
    files = expected.completes == "file" or (expected.completes == "profile" and "/" in prefix)
    return Offer(offered.words, files=files)


def _matching(words: Mapping[str, str], prefix: str) -> Offer:
    return Offer({word: text for word, text in words.items() if word.startswith(prefix)})


def names(kind: Kind, home: Home, *, cluster: str = "") -> dict[str, str]:
    """Return the names of a kind that local state knows, each with a line about it; asks no cloud and no node."""
    if kind == "cluster":
        return _clusters(home)
    if kind in ("node", "target"):
        return _nodes(home, cluster) | (dict.fromkeys(ROLES, "role") if kind == "target" else {})
    if kind == "page":
        return _pages(home, cluster)
    if kind == "role":
        return dict.fromkeys(ROLES, "role")
    if kind == "profile":
        from cloudmesh_cluster.config.profile import find_profiles

        return dict.fromkeys(sorted(find_profiles(home)), "profile")
    if kind == "plugin":
        from cloudmesh_cluster.plugins.reader import find_plugins

        return dict.fromkeys(sorted(find_plugins(home)), "plugin")
    return _providers(home) if kind == "provider" else {}


def _clusters(home: Home) -> dict[str, str]:
    if not home.state_file.exists():
        return {}
    from cloudmesh_cluster.state.store import State

    with State(home) as state:
        return {each.name: f"{each.state}, {each.profile} on {each.provider}" for each in state.clusters()}


def _nodes(home: Home, cluster: str) -> dict[str, str]:
    if not home.state_file.exists():
        return {}
    from cloudmesh_cluster.state.store import State

    with State(home) as state:
        known = {each.name: each for each in state.clusters()}
        return {node.short_name: node.state for node in known[cluster].nodes} if cluster in known else {}


def _pages(home: Home, cluster: str) -> dict[str, str]:
    if not home.state_file.exists():
        return {}
    from cloudmesh_cluster.plugins.resolve import resolve
    from cloudmesh_cluster.state.store import State

    with State(home) as state:
        if cluster not in state.cluster_names():
            return {}
        uses = state.record(cluster).profile.plugins
    try:
        chosen = [each for each in resolve(uses, home) if each.pages]
    except CmError:  # a plugin of the user's that is gone, or wrong by now, completes to nothing
        return {}
    pages = {port.name: f"page of {each.plugin.name}" for each in chosen for port in each.pages}
    return {each.plugin.name: "all its pages" for each in chosen} | pages


def _providers(home: Home) -> dict[str, str]:
    from cloudmesh_cluster.config.providers_file import TYPES, load_providers

    return {name: entry.type for name, entry in load_providers(home).entries.items()} | dict.fromkeys(TYPES, "type")


def answer(line: Sequence[str], tree: Tree, home: Home) -> int:
    """Print what completes a line, for the functions above."""
    offered = offer(line, tree, home)
    sys.stdout.write("".join(f"{word}\t{text}\n" for word, text in offered.words.items()))
    if offered.files:
        sys.stdout.write(":files\n")
    return 0


def completion(args: Namespace, session: Session) -> int:
    """Print the function that completes `cm` in a shell."""
    session.result = FUNCTIONS[args.shell]
    sys.stdout.write(session.result)
    return 0


COMMANDS = (
    Command(
        "completion", "", "print what makes bash, zsh or fish complete cm", completion,
        examples=(
            "completion bash > ~/.local/share/bash-completion/completions/cm",
            "completion zsh > ~/.zfunc/_cm",
            "completion fish > ~/.config/fish/completions/cm.fish",
        ),
        arguments=(argument("shell", choices=tuple(FUNCTIONS), help="which shell"),),
    ),
)  # fmt: skip
