"""Checks of the contracts that finders, readers, outputs, networks and executors keep.

Each check tries a class, yours or ours, and raises
`hitfinder.contracts.BrokenContractError`, an AssertionError that says which point of the contract
is not kept. They need no test framework::

    from hitfinder import testing

    def test_my_finder():
        testing.check_finder(MyFinder, geometry)
"""

from typing import TYPE_CHECKING

from hitfinder import lazy

if TYPE_CHECKING:
    from hitfinder.contracts import BrokenContractError as BrokenContractError
    from hitfinder.executors.checking import check_executor as check_executor
    from hitfinder.finding.checking import check_finder as check_finder
    from hitfinder.io.checking import check_reader as check_reader
    from hitfinder.io.checking import check_source as check_source
    from hitfinder.io.checking import check_stream as check_stream
    from hitfinder.job.outputs.checking import check_output as check_output
    from hitfinder.results.checking import check_mergeable as check_mergeable
    from hitfinder.study.networks.checking import check_network as check_network

PUBLIC = {
    "BrokenContractError": "hitfinder.contracts",
    "check_executor": "hitfinder.executors.checking",
    "check_finder": "hitfinder.finding.checking",
    "check_mergeable": "hitfinder.results.checking",
    "check_network": "hitfinder.study.networks.checking",
    "check_output": "hitfinder.job.outputs.checking",
    "check_reader": "hitfinder.io.checking",
    "check_source": "hitfinder.io.checking",
    "check_stream": "hitfinder.io.checking",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy.attach(__name__, PUBLIC)
