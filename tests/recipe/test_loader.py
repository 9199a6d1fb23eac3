"""Tests of loading recipes: overrides, defaults, removed keys, and one line for each mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch import recipe
from gatesearch.errors import UserError
from gatesearch.recipe import Recipe
from gatesearch.recipe.check import list_keys
from gatesearch.recipe.overrides import Override
from gatesearch.recipe.schema import Augment, Speech, Training

SHIPPED = recipe.find("kws_clips.yaml", "recipes", "recipe").absolute()
TEXT = SHIPPED.read_text()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(*overrides: str, name: str | Path = "kws_clips.yaml") -> str:
    with pytest.raises(UserError) as caught:
        recipe.load(name, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refusal_of(text: str | bytes) -> str:
    Path("my.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    line = refusal(name="my.yaml")
    assert line.startswith("my.yaml")
    return line.removeprefix("my.yaml: ")


def edited(old: str, new: str) -> str:
    assert old in TEXT
    return refusal_of(TEXT.replace(old, new, 1))


def test_shipped_recipes_load() -> None:
    kws = recipe.load("kws_clips.yaml")
    assert (kws.name, kws.training.epochs, kws.stream.shares["positive"]) == ("kws_clips", 60, 0.1)
    assert isinstance(kws.data, Speech) and kws.data.positives[:2] == ("yes", "no")
    assert kws.data.arguments["clips_per_class"] == 400
    assert kws.frontend.arguments == {"coefficients": 10}
    assert kws.space.kinds["gc"]["keep"] == (0.25, 0.5, 0.75, 1.0)
    assert kws.space == recipe.load_space("kws_gc")
    retrained = kws.training.updated(kws.retrain)
    assert (retrained.epochs, retrained.batch_size, retrained.learning_rate) == (30, kws.training.batch_size, 0.002)
    assert kws.training.updated(kws.search).epochs == 2


def test_shipped_recipes_show_every_key() -> None:
    written = yaml.safe_load(TEXT) | {"space": yaml.safe_load(recipe.find("kws_gc", "search_spaces", "").read_text())}

    def list_written_keys(tree: Any) -> set[tuple[str, ...]]:
        if not isinstance(tree, dict):
            return set()
        return {(k, *rest) for k, v in tree.items() for rest in [(), *list_written_keys(v)]}

    # The file's name gives the key "name". Keys that retrain leaves out come from training.
    hidden = {key for key in set(list_keys(Recipe)) - list_written_keys(written) if key[0] != "retrain"}
    assert hidden == {("name",)}


OFF = "search:\n  engine: trials\n  halving: null\n  supernet: {epochs: 4, sample: 12}\n"
ON = "search:\n  engine: auto\n  halving: {first: 1, reduction: 3, tau: 0.6}\n  supernet: {epochs: 4}\n"


@pytest.fixture
def make_old_folder() -> Callable[[str], Path]:
    """Return a function that writes the recipe of an older version, with keys of the search that were removed."""

    def write(search: str) -> Path:
        text = recipe.to_yaml(recipe.load("kws_clips.yaml"))
        Path("old").mkdir(exist_ok=True)
        Path("old/recipe.yaml").write_text(text.replace("search:\n", search))
        return Path("old")

    return write


def test_removed_keys_that_were_off_are_ignored(
    make_old_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_old_folder(OFF)
    assert recipe.load(folder / "recipe.yaml") == recipe.load_run(folder) == recipe.load("kws_clips.yaml")
    assert capsys.readouterr().out == ""


def test_removed_keys_that_were_on_are_refused_except_in_a_run_folder(
    make_old_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_old_folder(ON)
    with pytest.raises(UserError) as error:
        recipe.load(folder / "recipe.yaml")
    assert str(error.value) == (
        "old/recipe.yaml: search.engine: this key was removed: every plan that is kept is trained; delete it"
    )
    assert recipe.load_run(folder) == recipe.load("kws_clips.yaml")
    line = " ".join(capsys.readouterr().err.split())
    assert line == (
        "warning: old/recipe.yaml: search.engine, search.halving: removed since this run began, and without effect now"
    )


def test_a_resolved_recipe_reads_back_equal_without_other_files() -> None:
    kws = recipe.load("kws_clips.yaml", ["space.gates.max=2", "title='1e-3'", "data.positives=['1e3', 'null', a b]"])
    Path("recipe.yaml").write_text(recipe.to_yaml(kws))
    assert recipe.load("recipe.yaml") == kws
    assert (kws.name, kws.title, kws.space.gates.max) == ("kws_clips", "1e-3", 2)


def test_a_small_recipe_gets_defaults_and_plugins_take_further_keys() -> None:
    text = """
        data: {name: "mine.sets:load", folder: x, depth: {a: [1]}}
        stream: {shares: {positive: 0.5, other: 0.5}}
        backbone: mine.nets:Net
        space: {kinds: {gc: {}}}
        device: my_device.yaml
    """
    Path("small.yaml").write_text(text)
    Path("my_device.yaml").write_text("")
    small = recipe.load("small")
    assert small.data.arguments == {"folder": "x", "depth": {"a": [1]}}
    assert (small.augment, small.frontend.name, small.training) == (None, "identity", Training())
    assert small.device == str(Path("my_device.yaml").absolute())


def test_a_name_is_looked_up_in_the_folder_before_the_shipped_recipes(folder: Path) -> None:
    assert recipe.find("kws_clips", "recipes", "recipe").samefile(SHIPPED)
    (folder / "recipes").mkdir()
    (folder / "recipes" / "kws_clips.yaml").write_text(TEXT.replace("seed: 0", "seed: 7"))
    assert recipe.load("kws_clips").seed == 7
    (folder / "kws_clips.yaml").write_text(TEXT.replace("seed: 0", "seed: 8"))
    assert recipe.load("kws_clips.yaml").seed == 8
    (folder / "kws_clips").mkdir()
    assert recipe.load("kws_clips").seed == 8  # a folder is no recipe
    assert "nearest: 'kws.yaml'" in refusal(name="kwz.yaml")
    assert "nearest: 'kws'" in refusal(name="kwz")
    for odd in ("", "x" * 5000, "a\0b", "a\nb", "~nobody/x", "/"):
        assert refusal(name=odd).startswith("recipe: unknown recipe")


def test_space_is_found_beside_the_recipe_first(folder: Path) -> None:
    (folder / "own").mkdir()
    (folder / "own" / "r.yaml").write_text(TEXT)
    (folder / "own" / "kws_gc.yaml").write_text("gates: {max: 1}\nkinds: {gc: {}}")
    assert recipe.load("own/r.yaml").space.gates.max == 1
    (folder / "own" / "kws_gc.yaml").write_text("gates: {maxx: 1}\nkinds: {gc: {}}")
    assert refusal(name="own/r.yaml") == "own/kws_gc.yaml: gates.maxx: unknown key 'maxx'; nearest: 'max'"


def test_the_data_folder_becomes_an_absolute_path(folder: Path) -> None:
    data = recipe.load("kws_clips", ["data.root=sets/speech"]).data
    assert isinstance(data, Speech) and data.root == str(folder / "sets" / "speech")


def test_overrides_merge_and_the_last_wins() -> None:
    kws = recipe.load(
        "kws_clips", ["training={epochs: 3}", "training.epochs=4", "data.positives.0=hey", "augment=null"]
    )
    assert (kws.training.epochs, kws.training.batch_size, kws.augment) == (4, 50, None)
    assert isinstance(kws.data, Speech) and kws.data.positives[:2] == ("hey", "no")
    assert recipe.load("kws_clips", ["search.learning_rate=${training.learning_rate}"]).search.learning_rate == 0.01


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("training.epoch=3", "override training.epoch=3: unknown key 'epoch'; nearest: 'epochs'"),
        ("epochs=3", "override epochs=3: unknown key 'epochs'; nearest: 'training.epochs'"),
        ("training.epochs=many", "override training.epochs=many: 'many' is not an integer"),
        ("training.epochs=true", "override training.epochs=true: true is not an integer"),
        ("training.epochs=0", "override training.epochs=0: 0 is out of range; it must be at least 1"),
        ("training.epochs=", "override training.epochs=: null is not an integer"),
        ("training.epochs.x=3", "override training.epochs.x=3: training.epochs: {'x': 3} is not an integer"),
        ("training=3", "override training=3: 3 is not a group of keys"),
        ("training.learning_rate=.nan", "is not a finite number"),
        (
            "training.learning_rate=${nowhere}",
            "override training.learning_rate=${nowhere}: Interpolation key",
        ),
        ("=3", "override '=3': no key before '='"),
        ("foo", "override 'foo': no '=' in it"),
        ("a.b", "override 'a.b': no '=' in it"),
        ("kws_clips.yaml", "did you mean recipe=kws_clips.yaml?"),
        ("a[0]=1", "'a[0]' is no key"),
        ("--seed=1", "override --seed=1: unknown key '--seed'; nearest: 'seed'"),
        ("seed=[1,", "override 'seed=[1,': the value is not YAML"),
        ("data.positives=[yes]", "YAML reads unquoted yes, no, on and off as booleans"),
        ("data.positives=[a,a]", "'a' occurs twice"),
        ("data.positives.99=a", "list index out of range"),
        ("data.positives.x=a", "entries of a list have numbers"),
        ("data.positives=[_silence_]", "'_silence_' is in positives, too"),
        ("data.name=speach", "unknown data set 'speach'; nearest: 'speech'"),
        ("data.root=''", "override data.root='': empty"),
        ("data.negatives.positive=[x]", "'positive' stands for all positives"),
        (
            "data.negatives.cough=[x]",
            "override data.negatives.cough=[x]: data.negatives: no share for 'cough'",
        ),
        ("stream.shares.silence=0.1", "unknown class 'silence'; nearest: '_silence_'"),
        ("stream.shares.positive=0.3", "the shares add up to 1.2, not 1"),
        ("stream.shares.positive=2", "2 is out of range; it must be at most 1"),
        ("augment.speed=[2,1]", "a range from high to low"),
        ("augment.speed=[0,1]", "a speed is above 0"),
        ("augment.speed=[1]", "too few values"),
        ("augment.speed=[1,2,3]", "3 values, where 2 are expected"),
        ("backbone=dscnn", "unknown backbone 'dscnn'; nearest: 'ds_cnn'"),
        ("search.sampler=gates", "override search.sampler=gates: unknown sampler 'gates'; nearest: 'gate'"),
        (
            "search.engine=auto",
            "override search.engine=auto: this key was removed: every plan that is kept is trained; delete it",
        ),
        (
            "search.halving={first: 2}",
            "override search.halving={first: 2}: this key was removed: every trial is trained to its end; delete it",
        ),
        (
            "search.halving.first=2",
            "override search.halving.first=2: search.halving: this key was removed: every trial is trained to its end; "
            "delete it",
        ),
        (
            "search.supernet.tau=0.5",
            "override search.supernet.tau=0.5: search.supernet: this key was removed: every plan that is kept is "
            "trained; delete it",
        ),
        ("constraints.latency_ms=0", "must be above 0"),
        ("export.formats=[tflit]", "unknown format 'tflit'; nearest: 'tflite'"),
        ("device=tree_core", "override device=tree_core: unknown device 'tree_core'; nearest: 'three_core'"),
        (
            "space=kws_gb.yaml",
            "override space=kws_gb.yaml: unknown search space 'kws_gb.yaml'; nearest: 'kws_gc.yaml'",
        ),
        ("space.sites=some", "'some' is neither 'all' nor a list of names"),
        ("space.sites=[1]", "override space.sites=[1]: space.sites.0: 1 is not text"),
        ("space.gates.min=9", "at least 9 and at most 3 gates cannot be"),
        ("space.kinds.gcc.keep=[1]", "unknown gate kind 'gcc'; nearest: 'gc'"),
        ("space.kinds.gc.keep=[]", "override space.kinds.gc.keep=[]: empty"),
        ("backbone_args.x={1: 2}", "key 1 is not text"),
    ],
)
def test_a_wrong_override_gives_an_error_of_one_line(override: str, line: str) -> None:
    assert line in refusal(override)


def test_a_tilde_removes_a_key_so_that_its_default_applies() -> None:
    kws = recipe.load(
        "kws_clips", ["~augment.snr_db", "~pick", "~space.layers", "training.epochs=3", "~training.epochs"]
    )
    assert kws.augment is not None and kws.augment.snr_db == (5, 25)
    assert (kws.pick.tolerance, kws.training.epochs, kws.space.layers.sites) == (0.0, 40, "all")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("~data", "override ~data: missing key 'data'; it has no default"),
        ("~augment.sped", "override ~augment.sped: augment: unknown key 'sped'; nearest: 'speed'"),
        ("~seed.x", "override ~seed.x: seed is not a group of keys"),
        ("~seed=1", "override '~seed=1': ~ drops a key and takes no value; write ~seed"),
        ("~", "override '~': '' is no key"),
        ("~stream.shares.positive", "override ~stream.shares.positive: stream.shares: no share for 'positive'"),
    ],
)
def test_some_keys_cannot_be_removed(override: str, line: str) -> None:
    assert line in refusal(override)


def test_keys_of_another_data_set_are_removed() -> None:
    overrides = [
        "data.name=my.sets:load",
        "~data.positives",
        "~data.negatives",
        "~data.clips_per_class",
        "data.depth=3",
    ]
    data = recipe.load("kws_clips", overrides).data
    assert "positives" not in data.arguments and data.arguments["depth"] == 3


def test_a_damaged_recipe_gives_an_error_of_one_line() -> None:
    assert refusal_of("") == refusal_of("# nothing") == "empty"
    assert refusal_of("- 1") == "a list at its top level, where keys are expected"
    assert refusal_of("5") == "not a mapping of keys to values at its top level"
    assert refusal_of(b"a: \xff") == "not UTF-8 text (byte 3)"
    assert refusal_of("a: 1\nb: [1") == "line 3, column 1: did not find expected ',' or ']'"
    assert refusal_of("a: &x [*x]") == "line 1, column 4: YAML recursive aliases are not supported."
    assert "control characters" in refusal_of("a: \x00")
    assert refusal_of("seed: 0") == "missing key 'data'"
    line = TEXT[: TEXT.index("epochs: 60")].count("\n") + 2
    assert edited("epochs: 60", "epochs: 60\n  epochs: 41") == f"line {line}, column 3: found duplicate key epochs"
    assert edited("epochs: 60", "epoch: 40") == "training.epoch: unknown key 'epoch'; nearest: 'epochs'"
    assert edited("epochs: 60", "epochs: many") == "training.epochs: 'many' is not an integer"
    assert edited("  name: speech", "  nam: speech") == "data.nam: unknown key 'nam'; nearest: 'name'"
    assert edited("kws_gc.yaml", "kws_gd").startswith("space: unknown search space 'kws_gd'; nearest: 'kws_gc'")
    assert "not UTF-8" not in refusal_of("\ufeffseed: 0")  # a byte order mark is no error


def test_yaml_booleans_in_place_of_words_are_explained() -> None:
    trap = 'YAML reads unquoted yes, no, on and off as booleans; quote the word, as in "yes"'
    assert edited('"no"', "no") == f"data.positives.1: false is not text; {trap}"
    assert edited("{_silence_: [", "{no: [").endswith(trap)


def test_a_link_to_itself_is_an_unknown_recipe(folder: Path) -> None:
    (folder / "loop.yaml").symlink_to("loop.yaml")
    assert refusal(name="loop.yaml").startswith("recipe: unknown recipe")


def paths(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [key for name, value in items for key in [(*at, name), *paths(value, (*at, name))]]


PATHS = paths(yaml.safe_load(TEXT))
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4) | st.dates()
)
values = st.recursive(
    scalars | st.sampled_from(["all", "speech", "*", "positive", "${seed}", "???", "1e-3"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def only_a_recipe_or_a_line(name: str, overrides: list[str]) -> None:
    try:
        loaded = recipe.load(name, overrides)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
    else:
        Path("again.yaml").write_text(recipe.to_yaml(loaded))
        assert recipe.load("again.yaml") == loaded


EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@EXAMPLES
@given(st.data())
def test_any_mutation_gives_a_recipe_or_an_error_of_one_line(data: st.DataObject) -> None:
    tree = yaml.safe_load(TEXT)
    for _ in range(data.draw(st.integers(1, 2))):
        *group, last = data.draw(st.sampled_from(PATHS))
        holder = tree
        for step in group:
            inside = isinstance(holder, dict | list) and step in [p for (p, *_) in paths(holder)]
            holder = holder[step] if inside else {}
        if not isinstance(holder, dict | list):
            holder = {}  # an earlier mutation replaced the group by a value
        if isinstance(holder, list):
            holder[:] = [data.draw(values), *holder[1:]]
        elif data.draw(st.booleans()):
            holder[last] = data.draw(values)
        else:
            holder[data.draw(st.text(max_size=6) | st.integers() | st.booleans())] = holder.pop(last, None)
    Path("mutated.yaml").write_text(yaml.safe_dump(tree))
    only_a_recipe_or_a_line("mutated.yaml", [])


@EXAMPLES
@given(
    st.lists(st.integers(0, len(TEXT) - 1), min_size=1, max_size=3),
    st.sampled_from(list(":-[]{}\"'&*!#\t\n? x1")),
)
def test_any_stray_character_gives_a_recipe_or_an_error_of_one_line(places: list[int], stray: str) -> None:
    text = TEXT
    for place in places:
        text = text[:place] + stray + text[place + 1 :]
    Path("stray.yaml").write_text(text)
    only_a_recipe_or_a_line("stray.yaml", [])


@EXAMPLES
@given(st.sampled_from(PATHS), st.sampled_from(["=", "", ".x=", "x=", ".0="]), values | st.text(max_size=10))
def test_any_override_gives_a_recipe_or_an_error_of_one_line(path: tuple[Any, ...], joint: str, value: Any) -> None:
    only_a_recipe_or_a_line("kws_clips.yaml", [f"{'.'.join(map(str, path))}{joint}{value}"])


def test_schema_is_usable_without_yaml() -> None:
    assert Augment(shift_ms=0).snr_db == (5, 25)
    assert Override.parse("a.b=[1, two]").value == [1, "two"]


def test_mappings_with_keys_of_the_users_own_are_replaced() -> None:
    overrides = [
        'data.negatives={_other_: ["*"]}',
        "stream.shares={positive: 0.01, _other_: 0.99}",
        "backbone=my.nets:Net",
    ]
    kws = recipe.load("kws_clips", overrides)
    assert isinstance(kws.data, Speech) and set(kws.data.negatives) == {"_other_"}
    assert kws.stream.shares == {"positive": 0.01, "_other_": 0.99}
    assert kws.backbone_args == {}
    assert recipe.load("kws_clips", ["backbone=my.nets:Net", "backbone_args.depth=3"]).backbone_args == {"depth": 3}
