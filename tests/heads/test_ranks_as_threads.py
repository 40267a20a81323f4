"""Ranks that are threads of one process, where the checks of `test_sharded` take seconds.

Starting processes takes most of the time there, so the mutants' tests leave it out. PyTorch tests
its own collective operations with such threads.
"""

import threading
from collections import ChainMap
from itertools import product

import pytest
import torch
import torch.distributed as dist
from tests.heads import ranks_at_work as work
from tests.heads import test_sharded as processes
from torch.testing._internal.distributed import multi_threaded_pg as threaded

# Of these scenarios of `ranks_at_work` each check reads the results.
CHECKS = {
    "sampled": processes.test_samples_are_the_same_on_any_number_of_ranks,
    "weighted": processes.test_weighted_losses_of_the_ranks_count_as_their_mean,
    "plain_logits": processes.test_plain_logits_of_all_ranks_have_all_columns,
    "plain_logits refused": processes.test_invalid_logits_call_of_one_rank_is_rejected_on_all,
    "odd_centres": (
        processes.test_very_long_centres_of_one_rank_are_right_and_nan_is_reported_on_all
    ),
    "few_identities few_identities_saved": processes.test_ranks_without_identities_take_part,
    "tied": processes.test_hardest_negative_tied_on_two_ranks_counts_once,
    "ignored": processes.test_ignored_samples_count_on_no_rank,
    "norms": processes.test_global_view_gives_the_norm_over_all_ranks,
    "nearest": processes.test_nearest_searches_the_centres_of_all_ranks,
    "refused": processes.test_bad_input_of_one_rank_is_reported_on_all_without_waiting,
    "refused at first": processes.test_ranks_continue_after_bad_input,
}


def on_threads(scenario, size, folder):
    """The results of a scenario on all ranks, in their order."""
    results, errors, store = [None] * size, [], dist.HashStore()

    def at_work(rank):
        dist.init_process_group("threaded", rank=rank, world_size=size, store=store)
        try:
            results[rank] = scenario(rank, size, folder)
        except Exception as error:
            errors.append(error)
            threaded.ProcessLocalGroup.exception_handle(error)  # end the waiting of the others
        finally:
            dist.destroy_process_group()

    threaded._install_threaded_pg()
    torch._C._distributed_c10d._set_thread_isolation_mode(True)
    try:
        threads = [threading.Thread(target=at_work, args=(rank,)) for rank in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        torch._C._distributed_c10d._set_thread_isolation_mode(False)
        threaded.ProcessLocalGroup.reset()
        threaded._uninstall_threaded_pg()
    if errors:
        raise errors[0]
    return results


def arguments(check):
    """Every combination of the values with which `test_sharded` calls one of its checks."""
    choices = []
    for mark in check.pytestmark:
        names, values = mark.args
        if isinstance(names, str):
            names, values = (names,), [(value,) for value in values]
        choices.append([dict(zip(names, value, strict=True)) for value in values])
    for chosen in product(*choices):
        yield dict(ChainMap(*chosen))


@pytest.mark.parametrize("scenarios", CHECKS)
def test_ranks_that_are_threads_pass_the_checks_of_processes(scenarios, tmp_path):
    """As `test_sharded.result`, but of the scenarios that one check reads."""
    read = [name for name in scenarios.split() if hasattr(work, name)]
    results = {
        size: [dict(zip(read, one, strict=True)) for one in zip(*parts, strict=True)]
        for size in processes.SIZES
        for parts in [[on_threads(getattr(work, name), size, tmp_path) for name in read]]
    }
    for case in arguments(CHECKS[scenarios]):
        CHECKS[scenarios]((results, tmp_path), **case)
