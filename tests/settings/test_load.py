"""config.yaml and the environment."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from reconciler.errors import ConfigError
from reconciler.settings import Settings, load

SAMPLE = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def config(tmp_path):
    def written(text="", **environment):
        file = tmp_path / "config.yaml"
        file.write_text(text)
        return load(file, environment)

    return written


def refused(config, text="", **environment):
    with pytest.raises(ConfigError) as caught:
        config(text, **environment)
    return str(caught.value)


def test_an_empty_file_means_every_default(config, tmp_path):
    found = config()
    assert found == Settings(file=tmp_path / "config.yaml")
    assert found.domains == tmp_path / "domains"
    assert found.images == tmp_path / "images"
    assert (found.reconcile.resync, found.prune.hold_above) == (300.0, 0.5)
    assert found.defaults.stop.timeout == 30.0


def test_the_sample_configuration_is_accepted_and_means_the_defaults():
    found = load(SAMPLE, {})
    assert (found.reconcile, found.prune, found.defaults, found.admission) == (
        Settings(SAMPLE).reconcile, Settings(SAMPLE).prune, Settings(SAMPLE).defaults,
        Settings(SAMPLE).admission)


def test_paths_are_relative_to_the_file(config, tmp_path):
    found = config("source: {path: here}\npaths: {runtime: run, state: /state, images: ../images}")
    assert found.domains == tmp_path / "here"
    assert found.runtime == tmp_path / "run"
    assert found.api_socket == tmp_path / "run" / "api.sock"
    assert found.state == Path("/state")
    assert found.images == tmp_path / "../images"


@pytest.mark.parametrize(("text", "key", "near"), [
    ("sorce: {}", "'sorce'", "'source'"),
    ("source: {pth: a}", "'source.pth'", "'path'"),
    ("reconcile: {backoff: {inital: 1s}}", "'reconcile.backoff.inital'", "'initial'"),
])
def test_an_unknown_key_names_the_nearest_known_one(config, text, key, near):
    found = refused(config, text)
    assert key in found
    assert f"did you mean {near}?" in found


def test_an_unknown_key_without_a_near_one_names_all(config):
    assert "accepted: path, arguments, allowed" in refused(config, "hypervisor: {zzzzzz: 1}")


@pytest.mark.parametrize(("text", "key"), [
    ("reconcile: {resync: soon}", "reconcile.resync"),
    ("reconcile: {resync: 5}", "reconcile.resync"),
    ("reconcile: {jitter: 0.1}", "reconcile.jitter"),
    ("prune: {hold_above: 101%}", "prune.hold_above"),
    ("prune: {hold_minimum: 0}", "prune.hold_minimum"),
    ("prune: {enabled: maybe}", "prune.enabled"),
    ("defaults: {spare_ports: 65}", "defaults.spare_ports"),
    ("defaults: {spare_ports: -1}", "defaults.spare_ports"),
    ("defaults: {update: atuo}", "defaults.update"),
    ("source: {include: '*.xml'}", "source.include"),
    ("source: {path: true}", "source.path"),
    ("admission: {max_memory: much}", "admission.max_memory"),
    ("admission: {max_memory: 8 lumps}", "admission.max_memory"),
    ("admission: {max_vcpus: 255}", "admission.max_vcpus"),
    ("log: {level: loud}", "log.level"),
])
def test_a_wrong_value_names_its_key_and_what_is_accepted(config, text, key):
    found = refused(config, text)
    assert f"{key}: " in found
    assert "accepted" in found


@pytest.mark.parametrize("text", ["- a", "source: [a]", "just words"])
def test_a_file_that_is_not_a_mapping_is_refused(config, text):
    assert "accepted: a mapping" in refused(config, text)


def test_what_is_not_yaml_is_refused(config, tmp_path):
    assert "not YAML" in refused(config, "a: [")
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ConfigError, match="not YAML"):
        load(tmp_path / "config.yaml", {})


def test_a_file_that_is_not_there_is_refused_with_its_name(tmp_path):
    with pytest.raises(ConfigError, match="none.yaml: No such file") as caught:
        load(tmp_path / "none.yaml", {})
    assert "--config" in caught.value.hint


def test_an_empty_section_means_its_defaults(config):
    assert config("source:\nreconcile:\n  backoff:\n").source.path == "domains"


def test_the_environment_wins_over_the_file(config):
    found = config("reconcile: {resync: 1m, backoff: {initial: 3s}}",
                   RECONCILER_RECONCILE__RESYNC="2m",
                   RECONCILER_RECONCILE__BACKOFF__MAXIMUM="9s",
                   RECONCILER_SOURCE__INCLUDE="['*.xml', '*.dom']",
                   RECONCILER_NETWORK__MANAGE_TAPS="false",
                   RECONCILER_CONFIG="not a key", OTHER__KEY="nor this")
    assert found.reconcile.resync == 120.0
    assert (found.reconcile.backoff.initial, found.reconcile.backoff.maximum) == (3.0, 9.0)
    assert found.source.include == ("*.xml", "*.dom")
    assert not found.network.manage_taps


def test_a_name_in_the_environment_keeps_its_case(config):
    found = config("source: {variables: {Site: a, other: b}}",
                   RECONCILER_SOURCE__VARIABLES__Site="c",
                   RECONCILER_source__Variables__DISK_ROOT="/srv",
                   RECONCILER_WINDOWS__Nights__ALLOW="'22:00-05:00'")
    assert found.source.variables == (("DISK_ROOT", "/srv"), ("Site", "c"), ("other", "b"))
    assert [name for name, _ in found.windows] == ["Nights"]


@pytest.mark.parametrize(("environment", "said"), [
    ({"RECONCILER_SOURCE__PTH": "a"}, "source.pth"),
    ({"RECONCILER_SOURCE__PATH__X": "a"}, "RECONCILER_SOURCE__PATH__X: 'path' is not a section"),
    ({"RECONCILER_SOURCE__PATH": "[a"}, "RECONCILER_SOURCE__PATH: not YAML"),
])
def test_a_wrong_variable_is_refused(config, environment, said):
    assert said in refused(config, "source: {path: p}", **environment)


@pytest.mark.parametrize(("text", "count"), [
    ("8GiB", 8 << 30), ("8 GiB", 8 << 30), ("512m", 512 << 20), ("4096", 4096), ("1 GB", 10**9)])
def test_sizes_take_libvirts_units(config, text, count):
    assert config(f"admission: {{max_memory: {text}}}").admission.max_memory == count


def test_settings_are_frozen(config):
    with pytest.raises(FrozenInstanceError):
        config().source.path = "elsewhere"


def test_auto_concurrency_is_a_start_a_processor_at_most_eight(config):
    assert 2 <= config().concurrency <= 8
    assert config("reconcile: {concurrency: 20}").concurrency == 20


def test_automatic_directories_of_root_and_of_a_user(config, monkeypatch, tmp_path):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert config().runtime == Path("/run/stratovirt-reconciler")
    assert config().state == Path("/var/lib/stratovirt-reconciler")
    monkeypatch.setattr("os.geteuid", lambda: 7)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "/home/x/state")
    assert config().runtime == tmp_path / "stratovirt-reconciler"
    assert config().state == Path("/home/x/state/stratovirt-reconciler")


def test_rule_1_a_user_without_a_runtime_directory_is_given_none_that_others_may_make(
        config, monkeypatch, tmp_path):
    monkeypatch.setattr("os.geteuid", lambda: 4_000_000)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with pytest.raises(ConfigError, match="XDG_RUNTIME_DIR is not set") as caught:
        _ = config().runtime
    assert "paths.runtime" in caught.value.hint
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    with pytest.raises(ConfigError):
        _ = config().runtime
