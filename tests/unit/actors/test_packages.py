import sys

import pytest

from actors.packages import NAMES, require_own_packages, verify_packages


@pytest.fixture
def place(tmp_path):
    def make(folder, names):
        root = tmp_path / folder
        for name in names:
            (root / name).mkdir(parents=True)
            (root / name / "__init__.py").write_text("")
        return str(root)

    return make


def look(path, owners=None, loaded=lambda _name: None):
    return [(finding.code, finding.name) for finding in verify_packages(path=path, owners=owners or {}, loaded=loaded)]


def test_our_own_packages_are_ours():
    assert verify_packages() == []
    require_own_packages()


def test_a_whole_installation_is_silent(place):
    assert look([place("ours", NAMES)], {name: ["rayloom"] for name in NAMES}) == []


def test_another_distribution_with_a_package_of_our_name(place, tmp_path):
    site = place("ours", NAMES)
    info = tmp_path / "ours" / "cluster-1.4.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cluster\nVersion: 1.4.1\n")
    (info / "top_level.txt").write_text("cluster\n")
    (info / "RECORD").write_text("cluster/__init__.py,,\n")
    sys.path.insert(0, site)
    try:
        findings = verify_packages(path=[site], loaded=lambda _name: None)
    finally:
        sys.path.remove(site)
    assert [(finding.code, finding.name) for finding in findings] == [("clash", "cluster")]
    assert "the distribution cluster also installs" in findings[0].message


def test_what_the_removal_of_the_other_leaves_behind(place, tmp_path):
    site = place("ours", NAMES)
    (tmp_path / "ours" / "cluster" / "__init__.py").unlink()
    assert look([site]) == [("missing", "cluster")]


def test_a_folder_in_the_working_directory_that_shadows_ours(place):
    ours = place("ours", NAMES)
    assert look([place("here", ["store"]), ours]) == [("shadowed", "store")]


def test_a_package_that_was_imported_from_elsewhere(place, tmp_path):
    ours = place("ours", NAMES)
    elsewhere = str(tmp_path / "x" / "store" / "__init__.py")
    assert look([ours], loaded=lambda name: elsewhere if name == "store" else None) == [("shadowed", "store")]


def test_none_found(tmp_path):
    assert look([str(tmp_path)]) == [("missing", name) for name in NAMES]
