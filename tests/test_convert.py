"Checkpoints of the published code, to the lab and back: the same bits, and one line for what doesn't fit."

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from timemoe_lab.cli import main
from timemoe_lab.config import PRESETS, preset
from timemoe_lab.files import InputError
from timemoe_lab.model.published import from_published, load_model, read_tensors, save_model, to_published
from timemoe_lab.model.timemoe import TimeMoE
from timemoe_lab.run.folder import RunFolder

FIXTURES = Path(__file__).parent / "fixtures"
MODELS = ["tiny_moe_4heads", "tiny_moe_h1_gqa", "tiny_dense_h1"]
TOTALS = {
    "base": (113_352_192, 49_651_200),
    "large": (453_196_800, 198_392_832),
    "ultra": (2_416_545_792, 1_057_591_296),
}


@pytest.mark.parametrize("name", TOTALS)
def test_presets_have_the_published_sizes(name):
    with torch.device("meta"):
        model = TimeMoE(preset(name).model)
    assert (model.n_parameters, model.n_active) == TOTALS[name]


def test_every_preset_is_a_model_that_its_window_fits():
    assert {"tiny", "small"} < set(PRESETS)
    small = TimeMoE(preset("small").model, seed=0)
    assert 1e6 < small.n_parameters < 5e6
    out = small(torch.zeros(1, preset("small").data.context))
    assert set(out.forecast) == {1, 8, 32, 64}


def _bits(tensors):
    return {k: (v.dtype, v.shape, v.contiguous().view(torch.uint8).numpy().tobytes()) for k, v in tensors.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
def test_there_and_back_is_the_same_bits(tmp_path, name, dtype):
    tensors = {k: v.to(dtype) for k, v in load_file(FIXTURES / name / "model.safetensors").items()}
    shutil.copytree(FIXTURES / name, tmp_path / "theirs")
    save_file(tensors, tmp_path / "theirs" / "model.safetensors")
    save_model(from_published(tmp_path / "theirs"), tmp_path / "ours")
    to_published(load_model(tmp_path / "ours"), tmp_path / "back")
    assert _bits(load_file(tmp_path / "back" / "model.safetensors")) == _bits(tensors)
    old, new = (json.loads((tmp_path / d / "config.json").read_text()) for d in ("theirs", "back"))
    same = ("hidden_size", "intermediate_size", "num_experts_per_tok", "horizon_lengths", "rms_norm_eps", "use_dense")
    assert all(new[k] == old[k] for k in same) and from_published(tmp_path / "back").config


def test_a_checkpoint_in_several_files_is_one_model(tmp_path):
    whole = load_file(FIXTURES / MODELS[0] / "model.safetensors")
    names, folder = sorted(whole), tmp_path / "parts"
    folder.mkdir()
    shutil.copy(FIXTURES / MODELS[0] / "config.json", folder)
    files = {f"model-0000{i + 1}-of-00003.safetensors": names[i::3] for i in range(3)}
    for file, part in files.items():
        save_file({k: whole[k] for k in part}, folder / file)
    index = {"metadata": {}, "weight_map": {k: f for f, part in files.items() for k in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    ours, one = from_published(folder).state_dict(), from_published(FIXTURES / MODELS[0]).state_dict()
    assert all(torch.equal(ours[k], one[k]) for k in one)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(InputError, match="copy it whole"):
        from_published(folder)


def _spoil(folder, change):
    tensors = load_file(FIXTURES / MODELS[0] / "model.safetensors")
    change(tensors)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors")


GATE = "model.layers.1.ffn_layer.gate.weight"
SPOILT = {
    "missing": (lambda t: t.pop(GATE), ["lacks", GATE]),
    "extra": (lambda t: t.update(more=torch.zeros(2)), ["unknown", "more"]),
    "misshapen": (lambda t: t.update({GATE: t[GATE].T}), [GATE, "(32, 4)", "(4, 32)"]),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_tensor_that_does_not_fit_is_named(tmp_path, capsys, fault):
    change, words = SPOILT[fault]
    shutil.copytree(FIXTURES / MODELS[0], tmp_path / "bad")
    _spoil(tmp_path / "bad", change)
    assert main(["convert", str(tmp_path / "bad"), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and all(word in said for word in words) and not (tmp_path / "out").exists()


def test_convert_tells_which_way_it_goes(tmp_path, capsys, trained):
    theirs = FIXTURES / MODELS[0]
    assert main(["convert", str(theirs), "--out", str(tmp_path / "ours")]) == 0
    assert "format: timemoe_lab" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "ours"), "--out", str(tmp_path / "back")]) == 0
    assert "format: published" in capsys.readouterr().out
    assert _bits(read_tensors(tmp_path / "back")) == _bits(read_tensors(theirs))
    assert main(["convert", str(trained.path), "--out", str(tmp_path / "run")]) == 0
    assert from_published(tmp_path / "run").n_parameters == trained.model().n_parameters


@pytest.mark.parametrize(("name", "status"), [("nowhere", 2), ("owner/model", 2), ("raw", 2)])
def test_a_model_that_is_not_there_is_one_line(tmp_path, capsys, monkeypatch, name, status):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    (tmp_path / "raw").mkdir()
    assert main(["convert", name, "--out", str(tmp_path / "out")]) == status
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and name in said


def test_fine_tuning_starts_from_the_checkpoint(store, trained, tmp_path, capsys):
    save_model(trained.model(), tmp_path / "model")
    run = tmp_path / "run"
    arguments = ["train", str(store.path), "--out", str(run), "--steps", "1"]
    assert main([*arguments, "--init", str(tmp_path / "model")]) == 0
    first = RunFolder(run).events("step")[0].values["huber"]
    untrained, last = (trained.events("step")[i].values["huber"] for i in (0, -1))
    assert first < 0.5 * untrained and first < 2 * last
    assert main(["train", str(store.path), "--out", str(tmp_path / "wide"), "--init", str(FIXTURES / MODELS[2])]) == 2
    assert "head_weights" in capsys.readouterr().err
