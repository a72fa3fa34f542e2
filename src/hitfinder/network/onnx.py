"""The locator as an ONNX graph, for runtimes without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hitfinder.network.channels import CHANNELS, OUTPUTS, SIZE

OPSET = 17
INPUT, OUTPUT = "maps", "answers"
_BATCH_NORM_EPSILON = 1e-5


def convolutions(weights: Mapping[str, NDArray]) -> list[tuple[NDArray, NDArray]]:
    """Kernels and biases of a locator, each batch normalisation folded into its convolution.

    Parameters
    ----------
    weights : mapping of ndarray
        State of `hitfinder.network.training.architecture.Locator`.

    Returns
    -------
    list of (ndarray, ndarray)
        Kernel, shape (out, in, rows, columns), and bias, shape (out,), in order; all but the last
        are followed by a ReLU.
    """
    layers = sorted({int(name.split(".")[1]) for name in weights})
    out: list[tuple[NDArray, NDArray]] = []
    for layer in layers:
        own = {
            name.split(".")[2]: np.asarray(value, np.float64)
            for name, value in weights.items()
            if name.startswith(f"layers.{layer}.")
        }
        if own["weight"].ndim == 4:
            out.append((own["weight"], own.get("bias", np.zeros(len(own["weight"])))))
            continue
        kernel, bias = out[-1]
        gain = own["weight"] / np.sqrt(own["running_var"] + _BATCH_NORM_EPSILON)
        shift = own["bias"] + gain * (bias - own["running_mean"])
        out[-1] = kernel * gain[:, None, None, None], shift
    return [(kernel.astype(np.float32), bias.astype(np.float32)) for kernel, bias in out]


def onnx_bytes(weights: Mapping[str, NDArray]) -> bytes:
    """Serialise a locator as an ONNX model that takes any number of maps of any size."""
    from onnx import TensorProto, checker, helper, numpy_helper

    folded = convolutions(weights)
    nodes, constants, before = [], [], INPUT
    for k, (kernel, bias) in enumerate(folded):
        last = k == len(folded) - 1
        constants.append(numpy_helper.from_array(kernel, f"kernel{k}"))
        constants.append(numpy_helper.from_array(bias, f"bias{k}"))
        after = OUTPUT if last else f"conv{k}"
        nodes.append(helper.make_node("Conv", [before, f"kernel{k}", f"bias{k}"], [after]))
        if not last:
            nodes.append(helper.make_node("Relu", [after], [f"relu{k}"]))
        before = f"relu{k}"
    kind = TensorProto.FLOAT
    taken = helper.make_tensor_value_info(INPUT, kind, ["n", len(CHANNELS), "rows", "columns"])
    n_out = len(folded[-1][0])
    given = helper.make_tensor_value_info(OUTPUT, kind, ["n", n_out, "rows_out", "columns_out"])
    graph = helper.make_graph(nodes, "locator", [taken], [given], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()


def session(content: bytes):  # type: ignore[no-untyped-def]
    """Start the runtime of a locator on one core, and see that it answers.

    Parameters
    ----------
    content : bytes
        Of an ONNX file.

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    ValueError
        If the file holds no network that takes the maps of a locator and gives its answers.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    maps = np.zeros((1, len(CHANNELS), SIZE, SIZE), np.float32)
    try:
        made = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        answer = made.run(None, {INPUT: maps})[0]
    # The runtime has a class of its own for each way to fail, with no other parent.
    except Exception as error:
        told = str(error).partition("\n")[0]
        raise ValueError(f"the network cannot be run: {told}") from error
    if answer.shape != (1, len(OUTPUTS), 1, 1) or not np.isfinite(answer).all():
        raise ValueError(f"no locator: it answers with numbers of shape {answer.shape}")
    return made
