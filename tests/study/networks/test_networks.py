"""Shapes and parameter counts of the report's networks, worked out by hand from its layers."""

import pytest

torch = pytest.importorskip("torch")

from hitfinder.errors import ConfigError
from hitfinder.study.networks.registry import NETWORKS, network
from hitfinder.study.networks.summary import summarise

SHAPE = (61, 53)
REPORT_SHAPE = (2163, 2069)


def inputs_for(spec, shape, n=2):
    made = {"parameters": torch.tensor([[0.15, 6.0]] * n)}
    return [made.get(name, torch.rand(n, 1, *shape)) for name in spec.inputs]


def n_parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", NETWORKS.built_in)
@pytest.mark.parametrize("shape", [SHAPE, (64, 48), (40, 97)])
def test_output_shape_for_any_frame_size(name, shape):
    spec = network(name)
    model = spec.build(shape, 3).eval()
    with torch.no_grad():
        out = model(*inputs_for(spec, shape))
    assert out.shape == ((2, 3, *shape) if spec.gives == "map" else (2, 3))


@pytest.mark.parametrize("name", NETWORKS.built_in)
def test_every_parameter_takes_part(name):
    spec = network(name)
    torch.manual_seed(3)
    model = spec.build(SHAPE, 2).train()
    # Random targets: a sum would leave layers before a normalisation without gradient.
    out = model(*inputs_for(spec, SHAPE, n=4))
    (out * torch.randn_like(out)).sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_base():
    # 25 x 25 window, stride 10, padding 1: (61 + 2 - 25) // 10 + 1 = 4, (53 + 2 - 25) // 10 + 1 = 4
    assert n_parameters(network("base").build(SHAPE, 3)) == 2 * (625 + 1) + (2 * 4 * 4 + 1) * 3


def binary_features():
    # 61 x 53 -> 54 x 46 (10 x 10, padding 1) -> 27 x 23 (pool) -> 27 x 23 (3 x 3, padding 1)
    return 8 * (100 + 1) + 2 * 8 + 16 * (8 * 9 + 1) + 2 * 16, 27 * 23


def test_binary():
    layers, positions = binary_features()
    assert n_parameters(network("binary").build(SHAPE, 1)) == layers + 16 * positions + 1


def test_binary_with_parameters():
    layers, positions = binary_features()
    expected = layers + (16 * positions + 1) * 46 + (46 + 2 + 1)
    assert n_parameters(network("binary-parameters").build(SHAPE, 1)) == expected


def test_binary_with_parameters_has_46_hidden_units_on_the_reports_detector():
    # 2163 x 2069 -> 2156 x 2062 -> 1078 x 1031
    layers, _ = binary_features()
    found = summarise("binary-parameters", REPORT_SHAPE, 1).n_parameters
    assert found == layers + (16 * 1078 * 1031 + 1) * 46 + (46 + 2 + 1)


def test_parameters_reach_the_output():
    spec = network("binary-parameters")
    model = spec.build(SHAPE, 1).eval()
    frame = torch.rand(1, 1, *SHAPE)
    with torch.no_grad():
        a = model(frame, torch.tensor([[0.15, 6.0]]))
        b = model(frame, torch.tensor([[0.35, 8.0]]))
    assert a != b


def test_dual_input():
    # 61 x 53 -> 30 x 26 (5 x 5, stride 2, padding 1) -> 15 x 13 (pool), 32 channels, twice
    features = 2 * 32 * 15 * 13
    expected = 2 * 32 * (25 + 1) + (features + 1) * 128 + 129
    assert n_parameters(network("dual-input").build(SHAPE, 1)) == expected


def test_linear():
    assert n_parameters(network("linear").build(SHAPE, 3)) == (61 * 53 + 1) * 3


def test_heatmap():
    layers = 16 * (25 + 1) + 2 * 16 + 32 * (16 * 9 + 1) + 2 * 32
    attention = 2 * (32 * 2 + 2 * 32) + 2 * 49
    assert n_parameters(network("heatmap").build(SHAPE, 1)) == layers + attention + 32 * 9 + 1


def test_attention_weighs_channels_and_places():
    from hitfinder.study.networks.heatmap import ChannelAttention, SpatialAttention

    torch.manual_seed(0)
    x = torch.rand(1, 32, 9, 9) + 0.5
    by_channel = ChannelAttention(32)(x) / x
    assert by_channel.std(dim=(2, 3)).max() < 1e-5
    assert by_channel.mean(dim=(2, 3)).std() > 1e-4
    by_place = SpatialAttention()(x) / x
    assert by_place.std(dim=1).max() < 1e-5
    assert by_place.mean(dim=1).std() > 1e-4


def test_dncnn():
    assert n_parameters(network("dncnn").build(SHAPE, 1)) == 576 + 15 * (64 * 64 * 9 + 128) + 576


def test_dncnn_takes_its_residual_from_the_frame():
    model = network("dncnn").build(SHAPE, 1).eval()
    with torch.no_grad():
        model.residual[-1].weight.zero_()
        frame = torch.rand(1, 1, *SHAPE)
        assert torch.equal(model(frame), frame)


def test_resnet50_has_the_published_number_of_parameters():
    from hitfinder.study.networks.resnet import ResNet50

    # 25,557,032 for three colours and 1,000 classes, as every implementation of it states.
    assert n_parameters(ResNet50((224, 224), 1000, n_channels=3)) == 25_557_032


def test_resnet50_starts_from_weights_for_colour_pictures():
    from hitfinder.study.networks.resnet import ResNet50

    torch.manual_seed(1)
    colour = ResNet50(SHAPE, 1000, n_channels=3).eval()
    grey = ResNet50(SHAPE, 1).eval()
    grey.load_pretrained(colour.state_dict())
    picture = torch.rand(2, 1, *SHAPE)
    colour.fc = grey.fc = torch.nn.Identity()
    with torch.no_grad():
        expected = colour(picture.expand(-1, 3, -1, -1))
        assert torch.allclose(grey(picture), expected, rtol=1e-3, atol=1e-5)
    weights = dict(colour.state_dict())
    del weights["layer3.2.bn2.running_var"]
    with pytest.raises(ValueError, match=r"layer3\.2\.bn2\.running_var"):
        grey.load_pretrained(weights)


@pytest.mark.parametrize("name", ["base", "binary", "binary-parameters", "dual-input", "heatmap"])
def test_too_small_a_frame_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"{name}.*too small"):
        network(name).build((3, 3), 1)


def test_unknown_network_suggests_a_known_one():
    with pytest.raises(ConfigError, match="Did you mean 'heatmap'"):
        network("heatmp")


def test_summary_counts_memory():
    summary = summarise("linear", SHAPE, 3)
    assert summary.weights_bytes == 4 * summary.n_parameters
    assert summary.activation_bytes == 4 * 3
    assert summary.largest_layer_bytes == 4 * (61 * 53 + 3)
    assert summary.prediction_bytes(2) == summary.weights_bytes + 8 * (61 * 53 + 3)
    assert summary.training_bytes(2) == 4 * summary.weights_bytes + 4 * 12


def test_binary_pools_as_the_report_does():
    torch.manual_seed(1)
    model, frame = network("binary").build(SHAPE, 1), torch.rand(2, 1, *SHAPE)
    parts, own = model.features, list(model.parameters())
    x = parts.pool(torch.relu(parts.first_norm(parts.first(frame))))
    told = model.linear(torch.relu(parts.second_norm(parts.second(x))).flatten(1))
    found = model(frame)
    assert torch.equal(found, told)
    for one, other in zip(
        torch.autograd.grad(found.sum(), own), torch.autograd.grad(told.sum(), own), strict=True
    ):
        assert torch.equal(one, other)
