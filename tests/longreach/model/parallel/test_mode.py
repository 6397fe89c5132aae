"""How a run is laid out: what is taken of a DeepSpeed configuration, and what is refused by name."""

import warnings
from pathlib import Path
from typing import Any

import orjson
import pytest

from longreach.errors import UserError
from longreach.model.parallel.mode import FSDP_WAYS, check_mode, read_mode, zero_section

RECIPES = Path(__file__).parents[4] / "recipes"


def written(tmp_path: Path, **sections: Any) -> str:
    path = tmp_path / "deepspeed.json"
    path.write_bytes(orjson.dumps({"zero_optimization": {"stage": 3}, **sections}))
    return str(path)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("deepspeed-*.json")), ids=lambda path: path.stem)
def test_the_recipes_are_taken_whole(path: Path) -> None:
    assert zero_section(path) == orjson.loads(path.read_bytes())["zero_optimization"]


def test_names_and_what_shards(tmp_path: Path) -> None:
    modes = [read_mode("", "", 1), *(read_mode(way, "", 2) for way in FSDP_WAYS), read_mode("", written(tmp_path), 4)]
    assert [mode.name for mode in modes] == ["ddp", "fsdp, 2 to a row", "fsdp, 2 to a row", "zero3, 4 to a row"]
    assert [mode.reshard for mode in modes[1:3]] == [True, False]
    assert [mode.shards for mode in modes] == [False, True, True, True]


def test_a_configuration_written_for_transformers_is_taken(tmp_path: Path) -> None:
    auto = dict.fromkeys(["gradient_clipping", "train_batch_size", "gradient_accumulation_steps"], "auto")
    zero = {"stage": 2, "reduce_bucket_size": "auto", "overlap_comm": True}
    path = written(tmp_path, zero_optimization=zero, bf16={"enabled": "auto"}, steps_per_print=100, **auto)
    assert zero_section(Path(path)) == {"stage": 2, "overlap_comm": True}


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"gradient_clipping": 0.5}, "gradient_clipping is longreach's to set, by --clip"),
        ({"bf16": {"enabled": True}}, "bf16 is longreach's to set, by --dtype"),
        ({"fp16": {"enabled": True}}, "fp16 is refused: float16 would need its losses scaled"),
        ({"optimizer": {"type": "AdamW"}}, "optimizer is refused"),
        ({"scheduler": {"type": "WarmupLR"}}, "scheduler is refused"),
        ({"sequence_parallel_size": 2}, "stock Ulysses multiplies the gradients"),
        ({"prescale_gradients": True}, "prescale_gradients was not tried"),
        ({"zero_optimization": {"stage": 0}}, "stage is 0: 1, 2 and 3 are offered"),
        ({"zero_optimization": {"stage": True}}, "stage is True"),
        ({"zero_optimization": {"stage": 1, "offload_optimizer": {"device": "cpu"}}}, "is of stage 2 on: ZeRO 1 keeps"),
        ({"zero_optimization": {}}, "stage is None"),
        ({"zero_optimization": {"stage": "2"}}, "stage is '2'"),
        ({"zero_optimization": {"stage": 3, "offload_param": "cpu"}}, "offload_param is 'cpu'"),
        (
            {"zero_optimization": {"stage": 3, "zero_quantized_gradients": True}},
            "zero_quantized_gradients was not tried",
        ),
        ({"zero_optimization": {"stage": 2, "reduce_scatter": False}}, "reduce_scatter was not tried"),
        ({"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}}, "offload_param to nvme"),
        ({"zero_optimization": {"stage": 3, "offload_optimizer": "cpu"}}, "offload_optimizer is 'cpu': {\"device\""),
        ({"zero_optimization": {"stage": 3, "offload_param": True}}, "offload_param is True"),
        (
            {"zero_optimization": {"stage": 2, "offload_param": {"device": "cpu"}}},
            "offload_param is of stage 3 on: ZeRO 2",
        ),
        (
            {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu", "ratio": 0.5}}},
            "offload_optimizer.ratio was not tried",
        ),
        ({"zero_optimization": "auto"}, "no section zero_optimization"),
    ],
)
def test_what_would_change_numbers_is_refused(tmp_path: Path, section: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError) as caught:
        read_mode("", written(tmp_path, **section), 1)
    assert problem in caught.value.problem


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_mode("", written(tmp_path, fp16={}, optimizer={}, zero_optimization={"stage": 0}), 1)
    assert len(caught.value.problem.splitlines()) == 3


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_mode("", str(tmp_path / "none.json"), 1)
    (tmp_path / "torn.json").write_text('{"zero')
    with pytest.raises(UserError, match="is no JSON"):
        read_mode("", str(tmp_path / "torn.json"), 1)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match="no section zero_optimization"):
        read_mode("", str(tmp_path / "list.json"), 1)


def test_modes_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="both shard the model"):
        read_mode("full_shard", written(tmp_path), 1)
    with pytest.raises(UserError, match="at least one process"):
        read_mode("", "", 0)
    with pytest.raises(UserError, match="4 bits, which were tried neither sharded nor"):
        check_mode(read_mode("full_shard", "", 1), four_bit=True)
    with pytest.raises(UserError, match="nor with shared rows"):
        check_mode(read_mode("", "", 2), four_bit=True)
    monkeypatch.setattr("longreach.model.parallel.mode.find_spec", lambda name: None)
    with pytest.raises(UserError, match="deepspeed, which is not installed"):
        check_mode(read_mode("", written(tmp_path), 1))


@pytest.mark.parametrize("value", ["many", -5])
def test_a_value_that_deepspeed_cannot_take_is_named(value: object) -> None:
    zero = pytest.importorskip("longreach.model.parallel.zero")
    with pytest.raises(UserError, match=f"zero_optimization.reduce_bucket_size is {value!r}"):
        zero.Zero({"stage": 2, "reduce_bucket_size": value}, half=False, clip=1.0)


def test_old_names_that_deepspeed_calls_are_not_told_at_every_step() -> None:
    zero = pytest.importorskip("longreach.model.parallel.zero")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        zero.Zero({"stage": 2}, half=False, clip=1.0)
        warnings.warn("`torch.distributed.reduce_scatter_tensor` is deprecated. Please", FutureWarning, stacklevel=1)
        warnings.warn("something else is deprecated", FutureWarning, stacklevel=1)
    assert [str(each.message) for each in told if each.category is FutureWarning] == ["something else is deprecated"]
