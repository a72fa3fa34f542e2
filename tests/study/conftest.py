import dataclasses

import numpy as np
import pytest


@pytest.fixture
def save_network():
    """Write a trained network whose weights are zero but for those given."""
    from hitfinder.study.networks import attribute, trained
    from hitfinder.study.networks.registry import network
    from hitfinder.study.networks.trained import TrainedNetwork

    def save(path, name, net, state, shape):
        config = dataclasses.replace(attribute.packaged(name), network=net)
        model = network(net).build(shape, config.n_outputs)
        values = {k: v.numpy() * 0 for k, v in model.state_dict().items()}
        for key, value in state.items():
            values[key] = np.broadcast_to(np.float32(value), values[key].shape).copy()
        made = TrainedNetwork(config, shape, config.threshold)
        return trained.save(path, made, values).path

    return save
