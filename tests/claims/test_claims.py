"""Every claim runs end to end; what is compared is compared fairly; nothing is computed twice."""

import math
from dataclasses import replace

import msgspec
import pytest

from softtargets.claims import record as records
from softtargets.claims.arms import Arm, Planner, Try
from softtargets.claims.budgets import BUDGETS, BY_NAME, CPU, FULL, SMOKE
from softtargets.claims.claim import Measured
from softtargets.claims.intervals import Paired
from softtargets.claims.registry import CLAIMS, named
from softtargets.claims.running import Bench, Progress
from softtargets.claims.sources import KEPT, MissingDataError, Sources, kept
from softtargets.lab import execution
from softtargets.lab.data import AUGMENTATIONS
from softtargets.lab.errors import LabError
from softtargets.lab.kinds import kind_named
from softtargets.lab.methods import METHODS
from softtargets.lab.models import MODELS
from softtargets.lab.records import RunFolder
from softtargets.lab.segmentation.methods import METHODS as SEGMENTATION
from softtargets.lab.spec import RunSpec, given
from softtargets.lab.translation.methods import METHODS as TRANSLATION

EXPECTED = {
    "mueller": {
        "calibration", "underconfident", "accuracy", "clusters", "distillation", "information",
        "speed", "beam",
    },
    "chandrasegaran": {"temperature"},
    "ols": {"accuracy", "noise", "calibration", "period", "correct_only"},
    "ils": {"accuracy", "classwise", "surface"},
    "lukasik": {"noise", "denoising", "large_a", "distillation"},
    "wei": {"sign"},
    "human": {"noise"},
    "composer": {"accuracy", "mixup", "dice"},
    "xia": {"selective"},
    "maxsup": {"transfer"},
    "heinonen": {"corruption", "uncertainty", "clean"},
}  # fmt: skip


METHODS_OF = {
    "classification": METHODS, "translation": TRANSLATION, "segmentation": SEGMENTATION,
}  # fmt: skip


def test_all_claims_are_there():
    wanted = {f"{paper}.{name}" for paper, names in EXPECTED.items() for name in names}
    assert set(CLAIMS) == wanted
    assert [claim.name for claim in named(("ils", "wei.sign"))] == [
        "ils.accuracy", "ils.classwise", "ils.surface", "wei.sign",
    ]  # fmt: skip
    with pytest.raises(LabError, match=r"there is no claim 'mueler'; choose from mueller\."):
        named(("mueler",))


def test_every_claim_is_judged_on_every_thing_it_says(smoke):
    assert [claim.name for claim in smoke.record.claims] == list(CLAIMS)
    for claim in smoke.record.claims:
        assert claim.skipped is None
        assert [each.name for each in claim.effects] == [t.name for t in CLAIMS[claim.name].tests]
        assert claim.panels
        for effect in claim.effects:
            assert len(effect.values) == 2
            assert math.isfinite(effect.value)
            assert effect.low <= effect.value <= effect.high


def test_two_seeds_decide_nothing(smoke):
    assert {claim.verdict for claim in smoke.record.claims} == {"undecided"}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=str)
def test_rules_ask_for_five_seeds_and_methods_have_equally_many_tries(claim):
    scenes = [CPU.scenes[arm.scene] for arm in claim.arms]
    least = min((scene.seeds or 5 for scene in scenes), default=5)
    assert all(test.rule.seeds >= least for test in claim.tests)
    assert any(not test.condition for test in claim.tests)
    arms = {arm.name: arm for arm in claim.arms}
    assert len(arms) == len(claim.arms)
    for arm in claim.arms:
        assert arm.method in METHODS_OF[CPU.scenes[arm.scene].kind]
    counts = {len(arm.tries) for arm in claim.arms if not arm.name.startswith("teacher")}
    assert counts in ({1}, {4}) or claim.name in ("ols.period", "ils.surface")
    for arm in claim.arms:
        assert arm.teacher is None or len(arm.teacher.tries) == 1


@pytest.mark.parametrize("name", BUDGETS)
def test_seeds_of_tuning_are_not_judged(name):
    budget = BY_NAME[name]
    assert not set(budget.seeds) & set(budget.tuning_seeds)
    assert name == "smoke" or min(len(budget.seeds), budget.draws) >= 5


def test_budgets_have_every_scene():
    scenes = {arm.scene for claim in CLAIMS.values() for arm in claim.arms}
    assert all(scenes <= set(budget.scenes) for budget in (SMOKE, CPU, FULL))


@pytest.mark.parametrize("name", BUDGETS)
def test_scenes_are_fields_of_a_run(name):
    for scene in BY_NAME[name].scenes.values():
        if scene.kind != RunSpec.kind:
            kind_named(scene.kind).spec(
                data="", data_hash="", method="", parameters={}, seed=0, epochs=scene.epochs,
                **scene.fields,
            )  # fmt: skip
            continue
        spec = RunSpec(
            data=scene.data, data_hash="", method="hard", parameters={}, seed=0, noise=0.0,
            epochs=scene.epochs, resamples=0, **{**scene.fields, **scene.student},
        )  # fmt: skip
        assert given(spec.model, "mlp") in MODELS
        assert given(spec.augment, "none") in AUGMENTATIONS
    assert BY_NAME[name].scenes["confident"].student


def test_the_best_of_the_tuning_seeds_is_chosen(smoke):
    planner = Planner(budget=SMOKE, sources=Sources(None, smoke.folder))
    root = smoke.folder / "runs"
    found = {folder.path.name: folder.record() for folder in classifiers(root)}
    arm = next(arm for arm in CLAIMS["mueller.calibration"].arms if arm.name == "LS")
    losses = [
        found[planner.spec(arm, each, 100).run_id].history[-1].validation_nll
        for each in arm.tries[:2]
    ]
    assert planner.choice(arm, found) == losses.index(min(losses))
    assert planner.choice(arm, {}) is None
    assert {spec.seed for spec in planner.specs(arm, {})} == {100}
    assert {spec.seed for spec in planner.specs(arm, found)} == {100, 0, 1}
    assert {spec.seed for spec in planner.specs(arm, {}, assume=True)} == {100, 0, 1}


def test_runs_are_shared_and_never_computed_again(smoke):
    told = []
    bench = Bench(named(("mueller", "ols.accuracy")), SMOKE, smoke.folder, smoke.folder / "data")
    again = bench.run(Progress(planned=lambda missing, there: told.append(missing)))
    assert told == []
    first = {claim.name: claim for claim in smoke.record.claims}
    assert all(claim == first[claim.name] for claim in again.claims)
    alone = sum(claim.runs for claim in smoke.record.claims)
    assert smoke.record.runs < alone


def test_runs_of_claims_leave_intervals_to_them(smoke):
    for folder in classifiers(smoke.folder / "runs"):
        estimate = folder.record().metrics["accuracy"]
        assert 0 <= estimate.value <= 1
        assert (estimate.low, estimate.high) == (None, None)


def test_the_plan_counts_each_run_once(smoke):
    estimate = Bench(list(CLAIMS.values()), SMOKE, smoke.folder, smoke.folder / "data").estimate()
    assert estimate.runs < sum(estimate.by_claim.values())
    assert estimate.there > 0.8 * estimate.runs  # all but those of other choices
    fresh = Bench(named(("wei",)), SMOKE, smoke.folder / "fresh", None).estimate()
    assert (fresh.there, fresh.minutes, fresh.unmeasured) == (0, None, ["classification"])
    assert fresh.steps == fresh.runs * 4  # batches of 256 of 898 samples


def test_a_claim_without_its_data_is_skipped_with_the_reason(tmp_path):
    record = Bench(named(("xia", "mueller.accuracy")), CPU, tmp_path, None).run()
    assert [claim.verdict for claim in record.claims] == [None, None]
    assert Bench(named(("xia",)), CPU, tmp_path, None).estimate().minutes is None
    assert "fashion_mnist_29k.npz.xz; name its folder with --data-root" in record.claims[0].skipped
    (there := tmp_path / "data").mkdir()
    record = Bench(named(("xia",)), CPU, tmp_path, there).run()
    assert record.claims[0].skipped.endswith("fashion_mnist_29k.npz.xz, which is not there")
    assert record.runs == 0
    (there / "cifar10").mkdir()
    record = Bench(named(("human",)), CPU, tmp_path, there).run()
    assert record.claims[0].skipped.endswith("cifar10n.npz, which is not there")


def test_a_run_that_diverges_takes_only_its_claims_with_it(tmp_path, monkeypatch):
    real, failed = execution.compute, []

    def compute(specs, *arguments, **options):
        wrong = [spec.run_id for spec in specs if spec.parameters.get("rate", 0.0) < 0]
        if wrong:
            failed.append(wrong[0])
            raise LabError(f"{wrong[0]} diverged after 1 of 9 epochs: the loss is not finite")
        return real(specs, *arguments, **options)

    monkeypatch.setattr(execution, "compute", compute)
    record = Bench(named(("wei", "mueller.underconfident")), SMOKE, tmp_path, None).run()
    skipped, judged = sorted(record.claims, key=lambda claim: claim.skipped is None)
    assert skipped.name == "wei.sign"
    assert skipped.skipped.startswith(f"{failed[0]} diverged after 1 of 9 epochs")
    assert judged.verdict == "undecided"
    monkeypatch.setattr(execution, "compute", _full_disk)
    with pytest.raises(LabError, match="no space left"):
        Bench(named(("wei",)), SMOKE, tmp_path, None).run()


def test_an_effect_that_is_no_number_is_not_judged(smoke):
    def lost(results):
        return Measured({"LS - hard": Paired.fixed([0.1, math.nan])})

    spoilt = replace(CLAIMS["mueller.speed"], measure=lost)
    record = Bench([spoilt], SMOKE, smoke.folder, smoke.folder / "data").run()
    assert record.claims[0].skipped.startswith("its effect 'LS - hard' is not a finite number")
    records.write(record, smoke.folder / "spoilt.json")
    assert records.read(smoke.folder / "spoilt.json") == record


def classifiers(root):
    """The runs that are no translations."""
    for path in root.iterdir():
        if "noise" in msgspec.json.decode((path / "record.json").read_bytes())["spec"]:
            yield RunFolder(root, path.name)


def _full_disk(*arguments, **options):
    raise LabError("no space left")


def test_a_budget_without_the_scene_skips(tmp_path):
    planner = Planner(budget=replace(SMOKE, scenes={}), sources=Sources(None, tmp_path))
    with pytest.raises(MissingDataError, match="the budget smoke has no data for it"):
        planner.spec(Arm(name="x", method="hard"), Try(), 0)


def test_some_classes_alone_and_the_others(tmp_path):
    sources = Sources(None, tmp_path)
    _, data = sources.located("PART:digits")
    assert data.num_classes == KEPT
    train, test = sources.others("PART:digits")
    assert set(train.labels.tolist()) == set(test.labels.tolist()) == set(range(10 - KEPT))
    assert train.take(slice(0, 2)).shape == (2, 8, 8)
    with pytest.raises(LabError, match=f"more than {KEPT} classes"):
        kept({f"{k}_{part}": data.test.labels.numpy() for k in "xy" for part in ("train", "test")},
             others=True)  # fmt: skip


def test_records_are_read_as_they_were_written(smoke, tmp_path):
    path = tmp_path / records.FILE
    records.write(smoke.record, path)
    assert records.read(path) == smoke.record
    path.write_text("{}")
    with pytest.raises(LabError, match="is no record of claims"):
        records.read(path)
    records.write(msgspec.structs.replace(smoke.record, format=0), path)
    with pytest.raises(LabError, match="another version"):
        records.read(path)
