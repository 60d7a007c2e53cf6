"""Control groups on v1 and on v2: which files are written, with which values.

The tests run where v1 is, or v2, or both; what the other one needs is looked at in a directory that stands for it.
"""

from pathlib import Path

import pytest

from stages.kernel import cgroups, steps
from stages.kernel.errors import Failure
from stages.kernel.step import Start, Step

ID = "4053391054"


@pytest.fixture
def hierarchies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> cgroups.Hierarchies:
    """A machine whose cgroup file systems are ordinary directories."""
    here = object.__new__(cgroups.Hierarchies)
    here.v2, here.v1 = "", {}
    monkeypatch.setattr(cgroups, "Hierarchies", lambda: here)
    return here


def pure_v2(here: cgroups.Hierarchies, top: Path, controllers: str) -> Path:
    here.v2 = str(top)
    (top / "cgroup.controllers").write_text(f"{controllers}\n")
    (top / "cpuset.cpus.effective").write_text("0-3\n")
    return top


def written(todo: list[Step]) -> list[tuple[str, str]]:
    return [(step.path, step.value) for step in todo if isinstance(step, steps.SetLimit)]


def test_on_v2_each_controller_is_passed_on_at_every_level_before_its_limit_is_set(hierarchies, tmp_path):
    top = pure_v2(hierarchies, tmp_path, "cpuset cpu io memory pids")
    groups, todo = cgroups.plan(ID, 100 << 20, 512, "1")
    own = f"{top}/zocker/{ID}"
    assert groups == [own]
    assert written(todo) == [
        (f"{top}/cgroup.subtree_control", "+memory"),
        (f"{top}/zocker/cgroup.subtree_control", "+memory"),
        (f"{own}/memory.max", "104857600"),
        (f"{own}/memory.swap.max", "0"),
        (f"{top}/cgroup.subtree_control", "+cpu"),
        (f"{top}/zocker/cgroup.subtree_control", "+cpu"),
        (f"{own}/cpu.weight", str(1 + 510 * 9999 // 262142)),
        (f"{top}/cgroup.subtree_control", "+cpuset"),
        (f"{top}/zocker/cgroup.subtree_control", "+cpuset"),
        (f"{own}/cpuset.cpus", "1"),
    ]
    assert [step.path for step in todo if isinstance(step, steps.MakeCgroup)] == [own]


def test_on_v1_a_cpuset_gets_cpus_and_mems_at_every_level(hierarchies, tmp_path):
    (tmp_path / "cpuset.cpus").write_text("0-1\n")
    (tmp_path / "cpuset.mems").write_text("0\n")
    hierarchies.v1 = {"cpuset": str(tmp_path), "freezer": str(tmp_path / "freezer")}
    groups, todo = cgroups.plan(ID, 0, 0, "1")
    assert groups == [f"{tmp_path}/freezer/zocker/{ID}", f"{tmp_path}/zocker/{ID}"]
    assert written(todo) == [
        (f"{tmp_path}/zocker/cpuset.cpus", "0-1"),
        (f"{tmp_path}/zocker/cpuset.mems", "0"),
        (f"{tmp_path}/zocker/{ID}/cpuset.mems", "0"),
        (f"{tmp_path}/zocker/{ID}/cpuset.cpus", "1"),
    ]


def test_on_a_mixed_machine_limits_go_where_the_controller_is_and_v2_freezes(hierarchies, tmp_path):
    top = pure_v2(hierarchies, tmp_path, "hugetlb")
    hierarchies.v1 = {"memory": "/v1/memory"}
    groups, todo = cgroups.plan(ID, 64 << 20, 0, "")
    assert groups == [f"{top}/zocker/{ID}", f"/v1/memory/zocker/{ID}"]
    assert written(todo)[0] == (f"/v1/memory/zocker/{ID}/memory.limit_in_bytes", str(64 << 20))


def test_a_limit_that_this_machine_cannot_keep_is_refused(hierarchies, tmp_path):
    pure_v2(hierarchies, tmp_path, "pids")
    with pytest.raises(Failure, match="no memory controller"):
        cgroups.plan(ID, 64 << 20, 0, "")


def test_a_cpuset_names_only_cpus_that_are_there(hierarchies, tmp_path):
    pure_v2(hierarchies, tmp_path, "cpuset")
    assert cgroups.parse_cpuset("0-2,3") == "0-2,3"
    with pytest.raises(Failure, match="no CPU 4"):
        cgroups.parse_cpuset("4")


def test_shares_become_weights_from_end_to_end():
    assert [cgroups.weight_of(shares) for shares in (2, 1024, 262144)] == [1, 39, 10000]


def test_a_value_is_only_written_where_the_file_is_when_it_may_be_missing(tmp_path):
    steps.SetLimit(str(tmp_path / "memory.swap.max"), "0", if_there=True).do(Start([]))
    assert not (tmp_path / "memory.swap.max").exists()
    with pytest.raises(OSError, match=r'write\(".*memory.max", "1"\): No such file'):
        steps.SetLimit(str(tmp_path / "memory.max"), "1").do(Start([]))
