"""The Heat template of a cluster, and how it grows and shrinks."""

from __future__ import annotations

import base64
import copy
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudmesh_cluster import __version__
from cloudmesh_cluster.core.heat_names import index_of
from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import Node, RoleSpec, Volume
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.nodes.keys import KeyPair
from cloudmesh_cluster.nodes.user_data import user_data
from cloudmesh_cluster.providers.base import Boot, NodeBoot
from cloudmesh_cluster.providers.openstack import template
from cloudmesh_cluster.providers.openstack.blueprint import parameters_of
from cloudmesh_cluster.providers.openstack.template import (
    Server,
    Stack,
    common_user_data,
    grown,
    render,
    shrunk,
)

GOLDEN = Path(__file__).parent.parent / "data" / "heat" / "cluster.yaml"
WITH_HANDLES = GOLDEN.with_name("cluster-with-handles.yaml")
BOOTSTRAP = KeyPair(b"the private half\n", "ssh-ed25519 AAAAbootstrap cm-bootstrap op-1")
LOGIN = "ssh-ed25519 AAAAlogin cm-login t"
NASTY = ['say "hi"', "it's", "a: b", "#no", "x\n  evil: {type: OS::Heat::None}", "{a: b}", "@x", "*x", "no", "\\n", "ü"]
NASTY += ["🐘 & <b>", "\U0001f1e9\U0001f1ea", "\u2028\x85\x7f\ufeff", "\\ud83d\\ude00", "\t'\"\\"]


def server(index: int, **changed: Any) -> Server:
    """Return the master or a worker of cluster `t`."""
    short_name = f"worker-{index}" if index else "master"
    given: dict[str, Any] = {
        "name": f"t-{short_name}",
        "short_name": short_name,
        "role": "worker" if index else "master",
        "index": index,
        "address": f"10.88.0.{index + 10}",
        "image": "debian-12",
        "flavor": "m1.small",
        "floating_ip": index == 0,
        "login": index == 0,
    }
    return Server(**{**given, **changed})


def stack(
    indices: Sequence[int] = (0, 1, 2), *, operation: str = "20260101T000000-create-abcd", **changed: Any
) -> Stack:
    """Return cluster `t` with a network of its own."""
    given: dict[str, Any] = {
        "marks": Marks("t", "1111222233334444"),
        "operation": operation,
        "servers": [server(index) for index in indices],
        "ssh_from": "192.0.2.7/32",
        "cidr": "10.88.0.0/24",
        "external_network": "public",
        "dns": ["192.0.2.53"],
    }
    return Stack(**{**given, **changed})


def loaded(wanted: Stack) -> dict[str, Any]:
    """Return the rendered template as Heat reads it."""
    found = yaml.safe_load(render(wanted))
    assert isinstance(found, dict)
    return found


def types_of(found: dict[str, Any]) -> list[str]:
    """Return the types of a template's resources, each once."""
    return sorted({body["type"] for body in found["resources"].values()})


def nodes_of(workers: int) -> list[Node]:
    """Return the nodes of cluster `t`."""
    return [
        Node("t-master", "master", 0, "planned", "10.88.0.10"),
        *(Node(f"t-worker-{i}", "worker", i, "planned", f"10.88.0.{i + 10}") for i in range(1, workers + 1)),
    ]


def told(
    nodes: list[Node], node: Node, *, booted: list[Node] | None = None, host_keys_signal: str | None = None
) -> str:
    """Return the user_data of a node."""
    return user_data(
        cluster="t",
        operation="op-1",
        node=node,
        nodes=nodes,
        booted=booted,
        user="cm",
        login_public_key=LOGIN,
        bootstrap=BOOTSTRAP,
        cidr="10.88.0.0/24",
        deadline=300,
        signal=template.SIGNAL,
        host_keys_signal=host_keys_signal,
    ).content.decode("ascii")


# --- the text --------------------------------------------------------------------------------------------------


def test_text_is_as_agreed() -> None:
    """The text is deterministic and the one in tests/data (CM_GOLDEN=write renews that)."""
    text = render(stack())
    golden = text.replace(__version__, "VERSION")

    if os.environ.get("CM_GOLDEN") == "write":
        GOLDEN.write_text(golden, encoding="utf-8")
    assert golden == GOLDEN.read_text(encoding="utf-8")
    assert text == render(stack())


def test_text_with_handles_is_as_agreed() -> None:
    """So is the text of a stack whose nodes tell Heat their host keys."""
    text = render(stack((0, 1), tells_host_keys=True))
    golden = text.replace(__version__, "VERSION")

    if os.environ.get("CM_GOLDEN") == "write":
        WITH_HANDLES.write_text(golden, encoding="utf-8")
    assert golden == WITH_HANDLES.read_text(encoding="utf-8")


def test_each_node_has_a_handle_of_its_own() -> None:
    """Every server is told of the handle that bears its index and the operation, and of no other node's."""
    resources = loaded(stack(tells_host_keys=True))["resources"]
    for index in (0, 1, 2):
        handle = f"host_keys_{index}_20260101T000000_create_abcd"
        replaced = resources[f"server_{index}"]["properties"]["user_data"]["str_replace_strict"]["params"]

        assert resources[handle]["type"] == "OS::Heat::WaitConditionHandle"
        assert replaced[template.HOST_KEYS_SIGNAL] == {"get_attr": [handle, "curl_cli"]}
    assert [name for name in loaded(stack())["resources"] if name.startswith("host_keys_")] == []


def test_all_are_told_where_to_tell_their_host_keys() -> None:
    """The text of every node has what str_replace_strict puts the handle's command in place of, whoever propagates."""
    nodes = nodes_of(2)
    boots = tuple(
        NodeBoot(node, RoleSpec(1), told(nodes, node, host_keys_signal=template.HOST_KEYS_SIGNAL).encode())
        for node in nodes
    )
    for propagates in (True, False):
        boot = Boot(
            "t", "10.88.0.0/24", boots,
            login_public_key=LOGIN, bootstrap_private_key=BOOTSTRAP.private, propagates=propagates,
        )  # fmt: skip
        given = parameters_of(boot)
        for body in loaded(stack(tells_host_keys=True, propagates=propagates))["resources"].values():
            if body["type"] == "OS::Nova::Server" and (propagates or body["properties"]["name"] != nodes[-1].name):
                text = given[body["properties"]["user_data"]["str_replace_strict"]["template"]["get_param"]]
                assert text.count(template.HOST_KEYS_SIGNAL) == 1


def test_handles_of_a_rebuild() -> None:
    """Servers that are rebuilt where they are get handles of that operation; all else stays, but old user_data goes."""
    now = loaded(stack(tells_host_keys=True))
    before = copy.deepcopy(now)
    after = template.with_host_key_handles(now, operation="20260102T000000-write-beef", indices=[1, 2])
    handles = template.host_key_handles(after["resources"])

    assert handles == {
        0: "host_keys_0_20260101T000000_create_abcd",
        1: "host_keys_1_20260102T000000_write_beef",
        2: "host_keys_2_20260102T000000_write_beef",
    }
    assert after["resources"][handles[1]] == before["resources"]["host_keys_1_20260101T000000_create_abcd"]
    assert without_user_data(after, [0, 1, 2]).count("OS::Nova::Server") == 3
    assert after["resources"]["port_1"] == before["resources"]["port_1"]
    assert "create_abcd" not in json.dumps({**after["resources"], handles[0]: None}).replace(handles[0], "")
    assert now == before, "what was given has been changed"


def test_handles_come_and_go_with_their_nodes() -> None:
    """A node that comes brings its handle, one that is made anew gets another, and one that goes takes it along."""
    now = loaded(stack(tells_host_keys=True))
    addition = loaded(stack((2, 3), operation="20260102T000000-replace-beef", tells_host_keys=True))
    more = template.host_key_handles(grown(now, addition, indices=[2, 3])["resources"])
    less = template.host_key_handles(shrunk(now, indices=[1])["resources"])

    assert [name.split("_", 3)[3] for name in more.values()] == [
        *["20260101T000000_create_abcd"] * 2,
        *["20260102T000000_replace_beef"] * 2,
    ]
    assert list(less) == [0, 2]


def test_what_a_cluster_is_made_of() -> None:
    """A cluster with its own network has a port and a server a node, and one floating IP, the master's."""
    resources = loaded(stack())["resources"]

    assert sorted(resources) == sorted(
        [
            *("keypair", "network", "subnet", "router", "router_interface", "security_group", "login_security_group"),
            *("handle_20260101T000000_create_abcd", "nodes_up_20260101T000000_create_abcd", "floating_ip_0"),
            *(f"{kind}_{index}" for kind in ("port", "server") for index in (0, 1, 2)),
        ]
    )
    assert resources["port_2"]["properties"]["fixed_ips"][0]["ip_address"] == "10.88.0.12"
    login = {"get_resource": "login_security_group"}
    groups = [resources[f"port_{index}"]["properties"]["security_groups"] for index in (0, 1, 2)]
    assert [login in each for each in groups] == [True, False, False]


def test_only_the_last_server_gets_the_key() -> None:
    """The last server's user_data alone refers to the private key and the signal."""
    resources = loaded(stack())["resources"]
    replaced = [resources[f"server_{i}"]["properties"]["user_data"]["str_replace_strict"]["params"] for i in (0, 1, 2)]

    own = {template.NAME, template.SHORT_NAME, template.ADDRESS}
    assert [set(params) for params in replaced] == [own, own, {template.BOOTSTRAP_PRIVATE_KEY, template.SIGNAL}]
    assert replaced[1] == {
        template.NAME: "t-worker-1",
        template.SHORT_NAME: "worker-1",
        template.ADDRESS: "10.88.0.11",
    }


def test_without_propagation_all_are_told_the_same() -> None:
    """Where nobody propagates, the last server's text has all that its str_replace_strict replaces, and no more."""
    nodes = nodes_of(1)
    boots = tuple(NodeBoot(node, RoleSpec(1), told([*nodes, *nodes_of(2)[2:]], node).encode()) for node in nodes)
    for booted in (boots, boots[1:]):
        boot = Boot("t", "10.88.0.0/24", booted, login_public_key=LOGIN, bootstrap_private_key=BOOTSTRAP.private)
        given = parameters_of(boot)
        body = loaded(stack((0, 1), propagates=False, signal=False))["resources"]["server_1"]
        replaced = body["properties"]["user_data"]["str_replace_strict"]

        text = given[replaced["template"]["get_param"]]
        assert replaced["params"] and all(mark in text for mark in replaced["params"])
        assert template.BOOTSTRAP_PRIVATE_KEY not in text
        for mark, value in replaced["params"].items():
            text = text.replace(mark, value)
        assert text == booted[-1].user_data.decode()
        assert given["bootstrap_private_key"] == given["last_user_data"] == ""


def test_existing_network() -> None:
    """In an existing network nothing is made but ports, and the servers wait for no router."""
    found = loaded(stack(cidr="", network="lan", subnet="lan-4"))
    port, floating = (found["resources"][name] for name in ("port_1", "floating_ip_0"))

    assert not {"OS::Neutron::Net", "OS::Neutron::Subnet", "OS::Neutron::Router"} & set(types_of(found))
    assert port["properties"]["network"] == "lan"
    assert port["properties"]["fixed_ips"] == [{"subnet": "lan-4", "ip_address": "10.88.0.11"}]
    assert "depends_on" not in found["resources"]["server_1"]
    assert "depends_on" not in floating


def test_no_way_out() -> None:
    """Without an external network there is no router, and nothing that waits for one."""
    found = loaded(stack(external_network="", servers=[server(0, floating_ip=False), server(1)]))

    assert "OS::Neutron::Router" not in types_of(found)
    assert "router" not in json.dumps(found["resources"])


def test_options() -> None:
    """Zone, anti-affinity, volumes and a missing signal are in the template when they are asked for."""
    wide = server(1, root_disk=20, volumes=(Volume(5, "/data"), Volume(7)))
    found = loaded(stack(servers=[server(0), wide], availability_zone="az1", anti_affinity=True, signal=False))
    resources = found["resources"]
    properties = resources["server_1"]["properties"]

    assert resources["server_group"]["properties"]["policies"] == ["soft-anti-affinity"]
    assert properties["scheduler_hints"] == {"group": {"get_resource": "server_group"}}
    assert properties["availability_zone"] == "az1"
    assert "image" not in properties
    assert properties["block_device_mapping_v2"][0]["volume_size"] == 20
    assert [resources[f"volume_1_{i}"]["properties"]["size"] for i in (1, 2)] == [5, 7]
    assert [resources[f"volume_1_{i}"]["properties"]["metadata"].get("cm_mount") for i in (1, 2)] == ["/data", None]
    assert template.attachments(1, 2) == {name for name in resources if name.endswith("_attachment")}
    assert resources["volume_1_2_attachment"]["properties"]["instance_uuid"] == {"get_resource": "server_1"}
    assert "OS::Heat::WaitCondition" not in types_of(found)
    assert list(properties["user_data"]["str_replace_strict"]["params"]) == [template.BOOTSTRAP_PRIVATE_KEY]


@pytest.mark.parametrize("word", NASTY)
def test_values_stay_values(word: str) -> None:
    """No value, whatever it holds, adds a key or comes out as another text."""
    plain = loaded(stack())
    nasty = server(2, name=word, short_name=word, image=word, flavor=word, address=word)
    found = loaded(stack(marks=Marks(word), servers=[server(0), server(1), nasty], external_network=word, dns=[word]))

    assert list(found["resources"]) == list(plain["resources"])
    for name, body in found["resources"].items():
        assert set(body) == set(plain["resources"][name])
        assert set(body["properties"]) == set(plain["resources"][name]["properties"])
    properties = found["resources"]["server_2"]["properties"]
    assert (properties["name"], properties["image"], properties["flavor"]) == (word, word, word)
    assert properties["metadata"]["cm_cluster"] == word
    assert found["resources"]["subnet"]["properties"]["dns_nameservers"] == [word]


def test_what_is_not_given_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in the template that nobody gives a value is an error, not an empty text."""
    from jinja2 import UndefinedError

    shutil.copy(resource("heat_templates", "cluster.yaml.j2"), tmp_path)
    monkeypatch.setattr(template, "resource", lambda *parts: tmp_path)
    render(stack())
    with (tmp_path / "cluster.yaml.j2").open("a", encoding="utf-8") as file:
        file.write("# {{ clutser }}\n")

    with pytest.raises(UndefinedError, match="'clutser' is undefined"):
        render(stack())


# --- what nodes are told ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1, 3, 10])
def test_one_text_for_all_others(index: int) -> None:
    """The text that nodes share, with a node's own values put in, is that node's user_data."""
    nodes = nodes_of(12)
    first, node = nodes[0], nodes[index]
    common = common_user_data(
        told(nodes, first), name=first.name, short_name=first.short_name, address=first.private_ip
    )
    values = {template.NAME: node.name, template.SHORT_NAME: node.short_name, template.ADDRESS: node.private_ip}

    assert all(mark in common for mark in values), "Heat refuses to replace what is not there"
    for mark, value in values.items():
        common = common.replace(mark, value)
    assert common == told(nodes, node)


@pytest.mark.parametrize("first", [1, 10])
def test_shared_text_is_the_same_from_each_node(first: int) -> None:
    """The shared text does not depend on the node that it is made from: node 1 is no part of node 10."""
    nodes = nodes_of(12)
    master, other = (
        common_user_data(told(nodes, node), name=node.name, short_name=node.short_name, address=node.private_ip)
        for node in (nodes[0], nodes[first])
    )

    assert master == other


def test_private_key_is_in_hidden_parameters_only() -> None:
    """No text that Heat shows has the private key; the one parameter that has it is hidden."""
    nodes = nodes_of(2)
    boot = Boot(
        cluster="t",
        network="10.88.0.0/24",
        nodes=tuple(NodeBoot(node, RoleSpec(1), told(nodes, node).encode()) for node in nodes),
        login_public_key=LOGIN,
        bootstrap_private_key=BOOTSTRAP.private,
        propagates=True,
    )
    given = parameters_of(boot)
    declared = loaded(stack())["parameters"]
    secret = base64.b64encode(BOOTSTRAP.private).decode("ascii")

    assert set(given) == set(declared)
    assert [name for name, value in given.items() if secret in value] == ["bootstrap_private_key"]
    assert [name for name, body in declared.items() if body.get("hidden")] == ["bootstrap_private_key"]
    assert not any(BOOTSTRAP.private.decode().strip() in value for value in given.values())
    assert secret not in render(stack())
    whole = given["last_user_data"].replace(template.BOOTSTRAP_PRIVATE_KEY, given["bootstrap_private_key"])
    assert whole == told(nodes, nodes[-1])
    assert template.SIGNAL in given["last_user_data"]


# --- growing and shrinking -------------------------------------------------------------------------------------


def without_user_data(found: dict[str, Any], indices: Sequence[int]) -> str:
    """Return, as text to compare, all that a template says of some servers, but for their user_data."""
    bodies = {name: copy.deepcopy(body) for name, body in found["resources"].items() if index_of(name) in indices}
    for body in bodies.values():
        body["properties"].pop("user_data", None)
    assert bodies
    return json.dumps(bodies)


def test_growing_leaves_the_others_alone() -> None:
    """Other servers, ports and networks stay as their own template says, even where a new one says otherwise."""
    now = loaded(stack())
    addition = loaded(
        stack((0, 3), operation="20260102T000000-scale-beef", availability_zone="elsewhere", ssh_from="198.51.100.1/32")
    )
    before = copy.deepcopy(now)
    more = grown(now, addition, indices=[3])

    assert without_user_data(more, [0, 1, 2]) == without_user_data(before, [0, 1, 2])
    assert more["resources"]["server_3"] == addition["resources"]["server_3"]
    assert more["resources"]["port_3"] == addition["resources"]["port_3"]
    assert more["resources"]["login_security_group"] == before["resources"]["login_security_group"]
    assert "elsewhere" not in json.dumps({**more["resources"], "server_3": None})
    assert now == before, "what was given has been changed"


def test_old_signal_goes() -> None:
    """Handle and wait condition of the last operation go, the new one's come, and nothing refers to the old ones."""
    more = grown(loaded(stack()), loaded(stack((3,), operation="20260102T000000-scale-beef")), indices=[3])
    signals = [name for name in more["resources"] if name.startswith(("handle_", "nodes_up_"))]

    assert signals == ["handle_20260102T000000_scale_beef", "nodes_up_20260102T000000_scale_beef"]
    assert more["resources"][signals[1]]["depends_on"] == "server_3"
    assert "abcd" not in json.dumps(more["resources"])


def test_growing_replaces_a_server_of_the_same_index() -> None:
    """A server that is to be made anew is taken from the addition, with its volumes gone that it has no more."""
    now = loaded(stack(servers=[server(0), server(1, volumes=(Volume(5, "/data"),)), server(2)]))
    more = grown(now, loaded(stack(servers=[server(1, flavor="m1.large")])), indices=[1])

    assert more["resources"]["server_1"]["properties"]["flavor"] == "m1.large"
    assert more["resources"]["server_2"]["properties"]["flavor"] == "m1.small"
    assert not [name for name in more["resources"] if name.startswith("volume_")]


def test_shrinking_leaves_the_others_alone() -> None:
    """All that belongs to a server goes, the old signal goes, and the rest stays as it is."""
    now = loaded(stack(servers=[server(0), server(1), server(2, floating_ip=True, volumes=(Volume(5, "/data"),))]))
    before = copy.deepcopy(now)
    less = shrunk(now, indices=[2])

    assert without_user_data(less, [0, 1]) == without_user_data(before, [0, 1])
    gone = set(before["resources"]) - set(less["resources"])
    assert gone == {
        *("server_2", "port_2", "floating_ip_2", "volume_2_1", "volume_2_1_attachment"),
        *("handle_20260101T000000_create_abcd", "nodes_up_20260101T000000_create_abcd"),
    }
    assert "abcd" not in json.dumps(less["resources"])
    assert less["parameters"] == before["parameters"]
    assert now == before, "what was given has been changed"


def test_one_is_no_part_of_ten() -> None:
    """Taking out worker 1 leaves workers 10 and 11."""
    less = shrunk(loaded(stack(range(12))), indices=[1])

    assert [name for name in less["resources"] if name.startswith("server_1")] == ["server_10", "server_11"]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("server_0", 0),
        ("port_3", 3),
        ("floating_ip_12", 12),
        ("volume_3_1", 3),
        ("volume_10_2_attachment", 10),
        ("network", None),
        ("server_group", None),
        ("security_group", None),
        ("handle_20260101T000000_create_abcd", None),
        ("nodes_up_1", None),
        ("host_keys_10_20260101T000000_create_abcd", 10),
        ("host_keys_mine", None),
    ],
)
def test_index_of(name: str, index: int | None) -> None:
    """A resource's name says which server it belongs to; what all share belongs to none."""
    assert index_of(name) == index
