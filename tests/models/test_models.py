"""All student networks: at every size, compiled, of other libraries; their costs and pools."""

import json
import math
import sys

import pytest
import torch
import torch.nn.functional as F

from compdd_eval import train_student
from compdd_eval.config.protocol import Protocol
from compdd_eval.models.cost import count_flops, count_parameters, smallest_resolution
from compdd_eval.models.pools import EVAL_MODES, eval_pool
from compdd_eval.models.registry import create_model, list_models, register_model
from compdd_eval.utils.errors import InputError
from tests.conftest import ROOT

PARITY = json.loads((ROOT / "tests/parity/networks.json").read_text())
SIZES = (32, 64, 128, 224)
FIXED = [name for name in list_models() if not name.startswith("ConvNet")] + ["ConvNetGAP"]
SMALL = ("MLP", "LeNet", "ConvNetW32", "AlexNet_Tiny")
SMALLEST = {
    "MLP": 1,
    "LeNet": 16,
    "LeNet_Tiny": 27,
    "AlexNet": 8,
    "AlexNet_Tiny": 15,
    "VGG11": 32,
    "VGG11BN_Tiny": 32,
    "ResNet18": 2,
    "ResNet18BN_Tiny": 3,
    "ResNet18_AP": 2,
    "ResNet18ImageNet": 5,
    "ConvNetD8": 2,
}


def on_meta(name, size, channel=3):
    with torch.device("meta"):
        return create_model(name, im_size=(size, size), channel=channel)


def shapes(model):
    return [tuple(p.shape) for p in model.parameters()]


def native(name):
    return 64 if name.endswith("_Tiny") else 32


def test_every_name_is_there():
    ours = ["MLP", "LeNet", "AlexNet", "VGG11", "VGG11BN", "ResNet18", "ResNet18BN"]
    names = {*ours, *(f"{name}_Tiny" for name in ours), "ResNet18_AP", "ResNet18BN_AP", "ResNet18ImageNet"}
    suffixes = ["GAP", "AS", "AR", "AL", "NN", "BN", "LN", "IN", "GN", "NP", "MP", "AP"]
    suffixes += [f"W{width}" for width in (32, 64, 128, 256, 512, 1024)]
    suffixes += [f"D{depth}{norm}" for depth in range(1, 9) for norm in ("", "BN")]
    assert set(list_models()) == names | {f"ConvNet{suffix}" for suffix in ["", *suffixes]}
    assert {key.split("@")[0] for key in PARITY} <= set(list_models())


@pytest.mark.parametrize("name", list_models())
def test_every_student_trains_and_sees(name):
    """Training moves every parameter, and the logits depend on the image, not only on biases."""
    torch.manual_seed(0)
    model = create_model(name, im_size=(32, 32))
    before = [p.detach().clone() for p in model.parameters()]
    images, protocol = torch.randn(4, 3, 32, 32), Protocol(epoch_eval_train=1, dsa=False)
    losses = train_student(model, images, torch.arange(4), label_kind="hard", lr=0.01, protocol=protocol)
    assert len(losses) == 2 and all(map(math.isfinite, losses))
    # the bias before an instance norm has no gradient but rounding; decay alone changes a zero by nothing
    assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert all(p.grad.abs().sum() > 0 for p in model.parameters() if p.dim() > 1)
    with torch.no_grad():
        logits = model.eval()(images)
    assert logits.shape == (4, 10) and logits.std(dim=0).min() > 0
    assert count_flops(name, 10, (32, 32)) > 0


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("name", list_models())
def test_every_student_at_other_sizes(name, size):
    """Shapes and costs alone: forward and backward without values."""
    model = on_meta(name, size)
    with torch.device("meta"):
        logits = model(torch.randn(2, 3, size, size))
        assert logits.shape == (2, 10)
        logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert count_flops(name, 10, (size, size)) > 0


@pytest.mark.parametrize("name", ["MLP", "MLP_Tiny", "LeNet", "LeNet_Tiny", "ConvNetW32", "ConvNetD8", "ConvNetGAP"])
def test_small_students_see_images_of_224(name):
    torch.manual_seed(0)
    model = create_model(name, im_size=(224, 224))
    logits = model(torch.randn(2, 3, 224, 224))
    logits[:, 0].sum().backward()
    assert not torch.equal(*logits) and all(p.grad.abs().sum() > 0 for p in model.parameters() if p.dim() > 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((f"{family}_Tiny", 64) for family in ("AlexNet", "VGG11", "VGG11BN", "ResNet18", "ResNet18BN")),
        *((name, 224) for name in ("AlexNet", "VGG11", "ResNet18", "ResNet18_AP", "ResNet18ImageNet", "ConvNet")),
    ],
)
def test_every_family_sees_images_of_its_own_size_and_of_224(name, size):
    torch.manual_seed(0)
    model = create_model(name, im_size=(size, size))
    logits = model(torch.randn(2, 3, size, size))
    F.cross_entropy(logits, torch.arange(2)).backward()
    assert not torch.equal(*logits) and all(p.grad.abs().sum() > 0 for p in model.parameters() if p.dim() > 1)


@pytest.mark.parametrize("name", FIXED)
def test_parameters_keep_their_shapes_at_other_sizes(name):
    expected = shapes(on_meta(name, native(name)))
    for size in SIZES:
        assert shapes(on_meta(name, size)) == expected


def test_the_linear_layer_of_convnets_grows_with_the_image():
    assert [shapes(on_meta("ConvNet", size))[-2] for size in SIZES] == [(10, 128 * (size // 8) ** 2) for size in SIZES]
    assert shapes(on_meta("ConvNetLN", 64))[2] == (128, 64, 64)
    assert shapes(on_meta("ConvNetGAP", 224))[-2] == (10, 128)
    assert [shapes(on_meta("ConvNetD8", size))[-2] for size in (32, 128, 256, 512)] == [(10, 128)] * 3 + [(10, 512)]


@pytest.mark.parametrize("name", SMALLEST)
def test_the_smallest_images(name):
    size = SMALLEST[name]
    torch.manual_seed(0)
    logits = create_model(name, im_size=(size, size))(torch.randn(4, 3, size, size))
    assert logits.shape == (4, 10) and logits.std(dim=0).max() > 0
    if size > 1:
        message = f"^{name} cannot take images of {size + 9} x {size - 1} pixels.*at least {size} pixels a side"
        with pytest.raises(InputError, match=message):
            create_model(name, im_size=(size + 9, size - 1))


@pytest.mark.parametrize("name", ["MLP", "LeNet", "AlexNet", "VGG11", "ResNet18ImageNet", "ResNet18_AP", "ConvNetLN"])
def test_other_classes_channels_and_sides(name):
    assert create_model(name, 7, (40, 65), 1)(torch.randn(2, 1, 40, 65)).shape == (2, 7)


@pytest.mark.parametrize("target", [4, 5])
@pytest.mark.parametrize("size", [(1, 3), (5, 7), (13, 29), (9, 8)])
def test_window_means_are_adaptive_average_pooling(size, target):
    from compdd_eval.models.layers import WindowMeans, averaged_to

    maps = torch.randn(2, 3, *size)
    expected = F.adaptive_avg_pool2d(maps, target)
    assert torch.allclose(WindowMeans(size, target)(maps), expected, atol=1e-6)
    assert torch.allclose(averaged_to(size, target)(maps), expected, atol=1e-6)


def test_a_seed_fixes_the_weights():
    for name in ("ConvNetLN", "LeNet", "torchvision:mobilenet_v3_small"):
        states = []
        for _ in range(2):
            torch.manual_seed(3)
            states.append((create_model(name).state_dict(), torch.get_rng_state()))
        (first, after), (second, again) = states
        assert all(torch.equal(first[key], second[key]) for key in first) and torch.equal(after, again)


@pytest.mark.parametrize("name", SMALL)
def test_compiled_students_give_the_same(name):
    torch.manual_seed(0)
    model, images = create_model(name, im_size=(40, 40)), torch.randn(2, 3, 40, 40)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(images), model(images), atol=1e-5)
    compiled(images).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALL, "ConvNetBN"])
def test_students_compiled_to_machine_code_give_the_same(name):
    torch.manual_seed(0)
    model, images = create_model(name, im_size=(40, 40)).eval(), torch.randn(2, 3, 40, 40)
    compiled = torch.compile(model, fullgraph=True)
    assert torch.allclose(compiled(images), model(images), atol=1e-4)
    compiled(images).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", 32),
        ("resnet50", 64),
        ("mobilenet_v3_small", 32),
        ("vit_b_16", 32),
        ("googlenet", 64),
        ("regnet_y_400mf", 32),
    ],
)
def test_torchvision(name, size):
    state = torch.get_rng_state()
    on_meta(f"torchvision:{name}", size)
    assert torch.equal(state, torch.get_rng_state())
    model = create_model(f"torchvision:{name}", 7, (size, size))
    logits = model(torch.randn(2, 3, size, size))
    assert logits.shape == (2, 7)
    logits.sum().backward()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", "unknown torchvision model 'resnet5'; did you mean 'resnet50'"),
        ("ResNet50", "did you mean 'resnet50'"),
        ("", "unknown torchvision model ''; the nearest are "),
        ("fcn_resnet50", "torchvision:fcn_resnet50 is no plain classifier"),
        ("r3d_18", "torchvision:r3d_18 is no plain classifier"),
        ("inception_v3", "torchvision:inception_v3 cannot take images of 40 x 40 pixels"),
        ("vit_b_16", "torchvision:vit_b_16 cannot take images of 40 x 40 pixels"),
        ("maxvit_t", "torchvision:maxvit_t cannot take images of 40 x 40 pixels"),
    ],
)
def test_torchvision_refusals_come_before_any_value(name, message):
    with pytest.raises(InputError, match=message) as caught:
        on_meta(f"torchvision:{name}", 40)
    assert len(str(caught.value)) < 300


def test_torchvision_takes_colours_and_squares():
    with pytest.raises(InputError, match="3 channels, not 1"):
        on_meta("torchvision:resnet18", 64, channel=1)
    with pytest.raises(InputError, match="square images, not 32 x 64"):
        create_model("torchvision:vit_b_16", im_size=(32, 64))


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="registered already"):
        register_model("ConvNet")(lambda: None)


def test_unknown_names():
    with pytest.raises(InputError, match="unknown model 'resnet18_ap2'; did you mean 'ResNet18_AP'"):
        create_model("resnet18_ap2")
    with pytest.raises(InputError, match="unknown library of networks 'torchvison'; did you mean 'torchvision'"):
        create_model("torchvison:resnet18")


def test_timm_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r'^timm:resnet18 needs timm: pip install "compdd-eval\[timm\]"$'):
        create_model("timm:resnet18")


def test_timm():
    pytest.importorskip("timm")
    for name in ("mobilenetv3_small_050", "vit_tiny_patch16_224"):
        on_meta(f"timm:{name}", 64)
        assert create_model(f"timm:{name}", 7, (64, 64), 1)(torch.randn(2, 1, 64, 64)).shape == (2, 7)
    with pytest.raises(InputError, match="model 'resnet18.a1_in1k'; did you mean 'resnet18'") as caught:
        create_model("timm:resnet18.a1_in1k")
    assert len(str(caught.value)) < 300


def test_costs():
    assert count_flops("MLP", 10, (32, 32)) == 2 * (3072 * 128 + 128 * 128 + 128 * 10)
    convolutions = 3 * 9 * 128 * 32 * 32 + 128 * 9 * 128 * (16 * 16 + 8 * 8)
    assert count_flops("ConvNetD3", 10, (32, 32)) == 2 * (convolutions + 2048 * 10)
    assert sum(p.numel() for p in create_model("ConvNetD5").parameters()) == 615_690
    assert count_flops("ConvNetD3", 10, [64, 64]) > 3 * count_flops("ConvNetD3", 10, (32, 32))
    state = torch.get_rng_state()
    patches = count_flops("torchvision:vit_b_16", 10, (64, 64))
    assert patches > 12 * 2 * 17 * 12 * 768**2  # attention of every layer is counted
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(InputError, match="at least 16"):
        count_flops("LeNet", 10, (8, 8))


def test_names_by_a_pattern():
    assert list_models("*d3*") == list_models("*D3*") == ["ConvNetD3", "ConvNetD3BN"]
    assert list_models("ResNet18") == ["ResNet18"] and list_models("x") == []


def test_the_smallest_images_of_every_student():
    for name in ("ConvNetD5", "LeNet", "VGG11", "ResNet18ImageNet", "MLP"):
        side = smallest_resolution(name)
        on_meta(name, side)
        if side > 1:
            with pytest.raises(InputError):
                on_meta(name, side - 1)
    assert smallest_resolution("VGG11") == 32


def test_the_list_of_students(run):
    status, out, _ = run("models", "convnetd5*", "--json")
    first, second = json.loads(out)
    assert status == 0 and first == {
        "name": "ConvNetD5",
        "parameters": 615_690,
        "resolution": 128,
        "smallest_resolution": 2,
    }
    assert second["parameters"] == count_parameters("ConvNetD5BN", 10, (128, 128))
    status, out, _ = run("models", "VGG11", "--res", 16, "--json")
    assert json.loads(out)[0]["parameters"] is None and json.loads(out)[0]["smallest_resolution"] == 32
    status, out, _ = run("models", "*D5")
    assert "student    parameters  smallest images in px" in out and "ConvNetD5     615,690" in out
    status, out, _ = run("models", "torchvision:resnet18", "--json")
    assert json.loads(out)[0] | {"parameters": 0} == {
        "name": "torchvision:resnet18",
        "parameters": 0,
        "resolution": 128,
        "smallest_resolution": None,
    }
    status, _, (line,) = run("models", "ConvNetD55")
    assert status == 2 and "unknown model 'ConvNetD55'; did you mean 'ConvNetD5'" in line


@pytest.mark.parametrize("mode", EVAL_MODES)
@pytest.mark.parametrize("size", SIZES)
def test_pools_are_of_students(mode, size):
    pool = eval_pool(mode, "ConvNetD5", (size, size))
    assert len(set(pool)) == len(pool) and set(pool) <= set(list_models())


def test_pools():
    assert eval_pool("S", "ConvNetD4BN", (64, 64)) == ["ConvNetD4BN"]
    assert eval_pool("C", "ConvNet", (64, 64)) == ["ConvNet"]
    assert eval_pool("C", "AlexNet", (64, 64)) == ["AlexNet", "ConvNet"]
    assert eval_pool("N", "ConvNet", (32, 32)) == ["ConvNetNN", "ConvNetBN", "ConvNetLN", "ConvNetIN", "ConvNetGN"]
    fitting = {4: 1, 28: 3, 32: 3, 64: 4, 128: 5, 224: 6, 256: 6, 4096: 8}
    for size, depth in fitting.items():
        assert eval_pool("M", "MLP", (size, size)) == [f"ConvNetD{depth}", "AlexNet", "VGG11", "ResNet18"]
    with pytest.raises(InputError, match="unknown value of --eval_mode 'BM'; did you mean"):
        eval_pool("BM", "ConvNet", (32, 32))
