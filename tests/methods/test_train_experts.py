"""Expert trajectories: trained, sharpness-aware, kept, resumed, refused, read; and those of the published kind."""

import json
import logging
import os
import pickle

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from compdd_eval.__main__ import main
from compdd_eval.config.experts import ExpertsConfig
from compdd_eval.config.protocol import Protocol
from compdd_eval.distilled.formats import torch_files
from compdd_eval.methods import expert_files, train_experts
from compdd_eval.methods.expert_files import expert_path, open_experts, read_expert_facts
from compdd_eval.methods.sharpness_aware import SharpnessAwareTraining
from compdd_eval.models.registry import create_model
from compdd_eval.training.train import StudentBatches, Training
from compdd_eval.utils.errors import InputError

MODEL, RES = "ConvNetD1", 8
FLAGS = {"category": "bird", "subset": "easy", "res": RES, "model": MODEL, "num_experts": 2, "epochs": 2}
FLAGS |= {"batch_train": 32, "threads": 1, "lr": 0.05}


def arguments(drawn, folder, **changes):
    flags = FLAGS | {"data_path": drawn, "output_dir": folder} | changes
    return ["experts", *[part for name, value in flags.items() for part in (f"--{name}", str(value))]]


def experts(drawn, folder, **changes):
    return main(arguments(drawn, folder, **changes))


@pytest.fixture(scope="module")
def folder(drawn, tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts") / "e"
    assert experts(drawn, folder) == 0
    return folder


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("expert-*.safetensors")}


# -- sharpness-aware gradients, in float64


def toy(seed=0, images=6):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 10)).double()
    return network, torch.randn(images, 3, 2, 2, dtype=torch.float64), torch.arange(images) % 10


def plain_protocol(**changes):
    settings = {"epoch_eval_train": 1, "batch_train": 6, "schedule": "constant", "momentum": 0.0, "weight_decay": 0.0}
    return Protocol(**settings | {"labels": "hard", "dsa": False} | changes)


def sharp(network, images, labels, rho, alpha, adaptive=False, protocol=None, **options):
    protocol = protocol or plain_protocol()
    feed = StudentBatches(images, labels, "hard", protocol, seed=1)
    return SharpnessAwareTraining(network, feed, 0.1, protocol, rho=rho, alpha=alpha, adaptive=adaptive, **options)


def flat_gradient(network, vector, images, labels):
    """The gradient of the mean loss at weights that are one vector."""
    vector = vector.clone().requires_grad_()
    sizes = [parameter.numel() for parameter in network.parameters()]
    parts = zip(network.named_parameters(), vector.split(sizes), strict=True)
    weights = {name: part.view_as(parameter) for (name, parameter), part in parts}
    loss = F.cross_entropy(torch.func.functional_call(network, weights, images), labels)
    return torch.autograd.grad(loss, vector)[0]


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_sharpness_aware_gradients(alpha, adaptive):
    network, images, labels = toy()
    w, rho = nn.utils.parameters_to_vector(network.parameters()).detach(), 0.5
    g = flat_gradient(network, w, images, labels)
    e = rho * w**2 * g / (w * g).norm() if adaptive else rho * g / g.norm()
    p = flat_gradient(network, w + e, images, labels)
    expected = p - alpha * (g - (g @ p) / (p @ p) * p)
    loss = sharp(network, images, labels, rho, alpha, adaptive).add_gradients(images, labels)
    found = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert (found - g).norm() > 1e-3 * g.norm()  # it is another gradient
    torch.testing.assert_close(loss, F.cross_entropy(network(images), labels).detach())
    assert torch.equal(nn.utils.parameters_to_vector(network.parameters()), w)  # to the last bit


def trained(make, protocol, **options):
    network, images, labels = toy(images=12)
    list(make(network, images, labels, protocol=protocol, **options).passes())
    return nn.utils.parameters_to_vector(network.parameters()).detach()


def plain(network, images, labels, protocol, **options):
    return Training(network, [StudentBatches(images, labels, "hard", protocol, seed=1)], 0.1, protocol, **options)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_half_batches_give_the_same_step(alpha):
    protocol = plain_protocol(dsa=True, dsa_strategy="color_crop_flip")
    whole, halves = (trained(sharp, protocol, rho=0.3, alpha=alpha, part=part) for part in (6, 3))
    torch.testing.assert_close(halves, whole, rtol=0, atol=1e-12)


def test_a_radius_of_nearly_nothing_is_plain_training():
    protocol = plain_protocol(dsa=True, momentum=0.5)
    expected = trained(plain, protocol)
    torch.testing.assert_close(trained(sharp, protocol, rho=1e-9, alpha=0.0), expected, rtol=0, atol=1e-8)
    assert (trained(sharp, protocol, rho=0.3, alpha=0.0) - expected).norm() > 1e-3


# -- training


def test_what_is_kept(folder, drawn):
    content = json.loads((folder / "experts.json").read_text())
    assert [expert["seed"] for expert in content["experts"]] == [0, 1] and content["training_images"] == 120
    for seed in (0, 1):
        snapshots, facts = load_file(expert_path(folder, seed)), read_expert_facts(expert_path(folder, seed))
        network = create_model(MODEL, 10, (RES, RES))
        for name, parameter in network.named_parameters():
            assert snapshots[name].shape == (3, *parameter.shape) and snapshots[name].dtype == torch.float32
            assert not torch.equal(snapshots[name][0], snapshots[name][2])
        assert len(facts["losses"]) == 2 and facts["losses"][1] < facts["losses"][0]
    first, second = (load_file(expert_path(folder, seed))["classifier.weight"][0] for seed in (0, 1))
    assert not torch.equal(first, second)


def test_the_first_weights_are_no_student_s(folder):
    for seed in range(2):
        torch.manual_seed(seed)
        student = create_model(MODEL, 10, (RES, RES)).classifier.weight
        assert not torch.equal(load_file(expert_path(folder, seed))["classifier.weight"][0], student)


def test_the_last_snapshot_has_the_recorded_accuracy(folder, drawn):
    from compdd_eval.data.splits import open_split
    from compdd_eval.data.subsets import load_subset

    split = open_split(load_subset("bird-easy"), "train", str(drawn), (RES, RES))
    images, _ = split.decode()
    found = open_experts(str(folder), MODEL, RES)
    assert found.flat is False  # no --sam
    for expert in range(2):
        network = create_model(MODEL, 10, (RES, RES))
        with torch.no_grad():
            for parameter, value in zip(network.parameters(), found.parameters(expert, 2), strict=True):
                parameter.copy_(value)
            right = network(images).argmax(1) == split.labels
        facts = read_expert_facts(expert_path(folder, expert))
        assert right.float().mean().item() == pytest.approx(facts["accuracy"]) and facts["accuracy"] > 0.2


def test_snapshots_are_read_one_at_a_time(folder):
    found = open_experts(str(folder), MODEL, RES)
    assert (found.count, found.epochs) == (2, 2)
    stored = load_file(expert_path(folder, 1))
    names = [name for name, _ in create_model(MODEL, 10, (RES, RES)).named_parameters()]
    for name, value in zip(names, found.parameters(1, 1), strict=True):
        assert torch.equal(value, stored[name][1]) and value.untyped_storage().nbytes() == value.numel() * 4
    with pytest.raises(IndexError):
        found.parameters(2, 0)
    with pytest.raises(IndexError):
        found.parameters(0, 3)


def test_images_of_another_subset(folder):
    found = open_experts(str(folder), MODEL, RES)
    found.check_images(json.loads((folder / "experts.json").read_text())["training_digest"])
    with pytest.raises(InputError, match="other images"):
        found.check_images("0" * 64)


def test_more_experts_and_lost_ones(folder, drawn, tmp_path, capsys):
    other = tmp_path / "e"
    assert experts(drawn, other, num_experts=1) == 0
    digest = open_experts(str(other), MODEL, RES).digest
    assert experts(drawn, other) == 0 and "2, 1 of them new" in capsys.readouterr().out
    assert bytes_of(other) == bytes_of(folder)
    assert open_experts(str(other), MODEL, RES).digest != digest
    assert open_experts(str(other), MODEL, RES).digest == open_experts(str(folder), MODEL, RES).digest
    path = expert_path(other, 1)
    path.write_bytes(path.read_bytes()[:-100])  # cut short
    with pytest.raises(InputError, match="expert-000001.*damaged"):
        open_experts(str(other), MODEL, RES)
    assert experts(drawn, other) == 0 and bytes_of(other) == bytes_of(folder)


def test_an_interrupted_run_goes_on(drawn, tmp_path, folder, monkeypatch):
    write = expert_files.write_expert

    def interrupted(path, snapshots, facts):
        if facts["seed"] == 1:
            (tmp_path / ".expert-000001.abc.safetensors").write_bytes(b"part")  # as a killed process leaves it
            raise KeyboardInterrupt
        write(path, snapshots, facts)

    with monkeypatch.context() as patch:
        patch.setattr(train_experts, "write_expert", interrupted)
        assert experts(drawn, tmp_path) == 130
    assert list(bytes_of(tmp_path)) == ["expert-000000.safetensors"]
    assert experts(drawn, tmp_path) == 0 and bytes_of(tmp_path) == bytes_of(folder)
    assert not list(tmp_path.glob(".expert*"))


def test_the_header_has_one_entry(folder):
    """Several have another order in every process."""
    content = expert_path(folder, 0).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert len(header["__metadata__"]) == 1


def test_processes_that_share_no_folder(drawn, tmp_path):
    class Second:
        device, is_main_process, num_processes, process_index = torch.device("cpu"), False, 2, 1

    trainer = train_experts._ExpertTrainer(ExpertsConfig(**FLAGS | {"output_dir": str(tmp_path)}), Second())
    trainer.digest = "of the main process"
    with pytest.raises(InputError, match="other processes have another folder"):
        trainer._check_shared()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 0.02}, "lr 0.05"),
        ({"epochs": 3}, "epochs 2"),
        ({"sam": "true"}, "sam False"),
        ({"category": "fish", "subset": "easy"}, "other images"),
    ],
)
def test_a_folder_of_other_settings(folder, odd, drawn, capsys, changes, words):
    before = bytes_of(folder)
    assert experts(odd if "category" in changes else drawn, folder, **changes) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert words in error and "--overwrite" in error and bytes_of(folder) == before


def test_overwrite(drawn, tmp_path):
    assert experts(drawn, tmp_path, num_experts=1) == 0
    before = bytes_of(tmp_path)
    assert experts(drawn, tmp_path, num_experts=1, sam="true", rho=0.5, overwrite="true") == 0
    after = bytes_of(tmp_path)
    assert after.keys() == before.keys() and after != before
    assert json.loads((tmp_path / "experts.json").read_text())["settings"]["rho"] == 0.5


def test_refused(drawn, tmp_path, capsys):
    assert experts(drawn, tmp_path / "a", model="ConvNetD1BN") == 2
    assert "batch norm" in capsys.readouterr().err and not (tmp_path / "a").exists()
    assert experts(drawn, tmp_path / "b", lr=1e30) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "seed 0" in error and "--lr" in error and not bytes_of(tmp_path / "b")


def test_json(folder, drawn, capsys):
    assert main([*arguments(drawn, folder), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["new"] == 0 and content["seconds_per_epoch"] is None and len(content["experts"]) == 2


# -- the published kind


def trajectories(folder, number=2, epochs=2):
    """What MTT's buffer.py saves."""
    torch.manual_seed(5)
    return [
        [[p.detach() for p in create_model(MODEL, 10, (RES, RES)).parameters()] for _ in range(epochs + 1)]
        for _ in range(number)
    ]


def test_replay_buffers(tmp_path):
    content = [trajectories(tmp_path, number) for number in (2, 1, 1)]
    content[2][0] = [[nn.Parameter(tensor) for tensor in snapshot] for snapshot in content[2][0]]
    for number, part in zip((0, 2, 10), content, strict=True):
        torch.save(part, tmp_path / f"replay_buffer_{number}.pt")
    found = open_experts(str(tmp_path), MODEL, RES)
    assert (found.count, found.epochs, found.training_digest) == (4, 2, None)
    flat = [trajectory for part in content for trajectory in part]  # 10 comes after 2
    for expert in (3, 0, 2, 1):
        for value, expected in zip(found.parameters(expert, 1), flat[expert][1], strict=True):
            assert torch.equal(value, expected) and not isinstance(value, nn.Parameter)
            assert value.untyped_storage().nbytes() == value.numel() * 4
    found.check_images("anything")
    single = open_experts(str(tmp_path / "replay_buffer_10.pt"), MODEL, RES)
    assert single.count == 1 and single.digest != found.digest


@pytest.mark.parametrize(
    ("zipped", "opened_again"), [(True, []), (False, ["replay_buffer_0.pt", "replay_buffer_1.pt"])]
)
def test_files_stay_open_where_their_numbers_stay_on_disk(tmp_path, monkeypatch, zipped, opened_again):
    for number in range(2):
        path = tmp_path / f"replay_buffer_{number}.pt"
        torch.save(trajectories(tmp_path), path, _use_new_zipfile_serialization=zipped)
    opened, load = [], torch_files.load_torch
    monkeypatch.setattr(expert_files, "load_torch", lambda path, **how: opened.append(path.name) or load(path, **how))
    found = open_experts(str(tmp_path), MODEL, RES)
    for expert in (2, 3, 2, 0, 1, 2):
        found.parameters(expert, 0)
    assert opened == ["replay_buffer_0.pt", "replay_buffer_1.pt", *opened_again]


def test_an_old_format(tmp_path):
    content = trajectories(tmp_path)
    torch.save(content, tmp_path / "replay_buffer_0.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(open_experts(str(tmp_path), MODEL, RES).parameters(1, 2)[0], content[1][2][0])


def test_trajectories_of_different_lengths(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("compdd_eval"), "propagate", True)
    torch.save([*trajectories(tmp_path, 1, epochs=4), *trajectories(tmp_path, 1)], tmp_path / "replay_buffer_0.pt")
    found = open_experts(str(tmp_path), MODEL, RES)
    assert found.epochs == 2 and "2 to 4 epochs" in caplog.text


class Code:
    def __reduce__(self):
        return os.system, ("touch /tmp/compdd_was_run",)


def changed(content, change):
    change(content)
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda t: [], "an empty list, expected a list of trajectories"),
        (lambda t: {"a": torch.zeros(2)}, "dict, expected a list of trajectories"),
        (lambda t: [[]], "an empty list, expected a list of epochs in trajectory 0"),
        (lambda t: [t[0][:1]], "one snapshot"),
        (lambda t: [[t[0][0], []]], "parameters in trajectory 0, epoch 1"),
        (lambda t: [[t[0][0], t[0][1][:-1]]], "epoch 1 has 5 parameters, expected 6"),
        (lambda t: changed(t, lambda t: t[1][2].__setitem__(3, 5)), "trajectory 1, epoch 2, parameter 3: int"),
        (lambda t: changed(t, lambda t: t[1][0].__setitem__(0, torch.zeros(3, dtype=torch.int))), "torch.int32"),
        (lambda t: changed(t, lambda t: t[0][0].__setitem__(1, torch.zeros(3))), r"shape \[3\], expected \[128\]"),
    ],
)
def test_odd_buffers(tmp_path, content, words):
    torch.save(content(trajectories(tmp_path)), tmp_path / "replay_buffer_0.pt")
    with pytest.raises(InputError, match=words) as caught:
        open_experts(str(tmp_path), MODEL, RES)
    assert "replay_buffer_0.pt" in str(caught.value)


def test_damaged_and_malicious_buffers(tmp_path):
    path = tmp_path / "replay_buffer_0.pt"
    torch.save(trajectories(tmp_path), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="damaged or cut short"):
        open_experts(str(tmp_path), MODEL, RES)
    for content in (pickle.dumps(Code()), b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match="replay_buffer_0.pt"):
            open_experts(str(tmp_path), MODEL, RES)
    torch.save([[[Code()]]], path)
    with pytest.raises(InputError, match="could run code"):
        open_experts(str(tmp_path), MODEL, RES)
    assert not os.path.exists("/tmp/compdd_was_run")


def test_numbers_that_are_not_finite(tmp_path):
    content = trajectories(tmp_path)
    content[0][1][0][0] = float("nan")
    torch.save(content, tmp_path / "replay_buffer_0.pt")
    found = open_experts(str(tmp_path), MODEL, RES)
    found.parameters(0, 0)
    with pytest.raises(InputError, match="not finite"):
        found.parameters(0, 1)


def test_other_networks_and_places(folder, tmp_path):
    torch.save(trajectories(tmp_path), tmp_path / "replay_buffer_0.pt")
    with pytest.raises(InputError, match=f"--model {MODEL} --res 16.*probably"):
        open_experts(str(tmp_path), MODEL, 16)
    with pytest.raises(InputError, match=f"give --model {MODEL} --res {RES}"):
        open_experts(str(folder), MODEL, 16)
    with pytest.raises(InputError, match="batch norm"):
        open_experts(str(folder), "ConvNetD1BN", RES)
    with pytest.raises(InputError, match="no such file"):
        open_experts(str(tmp_path / "none"), MODEL, RES)
    (tmp_path / "a/b").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no experts"):
        open_experts(str(tmp_path / "a"), MODEL, RES)
    (tmp_path / "replay_buffer_0.pt").rename(tmp_path / "a/b/replay_buffer_0.pt")
    with pytest.raises(InputError, match="there are some in .*a/b"):
        open_experts(str(tmp_path), MODEL, RES)
