//! The blocking host functions: the same programs, without a runtime.

use std::time::Duration;

use millpond_pool::Access;
use millpond_sqlite::PoolBuilder;
use millpond_tests::Lab;

#[test]
fn every_program_of_the_contract_runs_the_same() {
    for program in [
        "contract_values",
        "contract_not_utf8",
        "contract_parameters",
        "contract_statements",
        "contract_errors",
        "contract_scripts",
        "contract_execute_many",
        "contract_summaries",
        "contract_pool",
        "contract_too_large",
        "handles_stale_after_return",
        "handles_of_one_statement",
        "handles_too_many",
        "transactions_by_handle",
        "transactions_by_text",
        "transactions_of_two_connections",
        "transactions_ended_by_sqlite",
        "transactions_read_only",
        "contract_pages",
    ] {
        Lab::new().run(program).go_blocking().succeeds();
    }
}

#[test]
fn a_wait_ends_with_its_timeout() {
    let lab = Lab::with(
        PoolBuilder::new()
            .max_size(1)
            .timeout(Duration::from_millis(10)),
    );
    let held = lab
        .pool()
        .get_blocking(Access::ReadWrite)
        .expect("a connection");
    let ended = lab.run("contract_summaries").go_blocking();
    assert!(
        !matches!(ended.result, Ok(Ok(()))),
        "the guest got a connection"
    );
    assert!(ended.output.contains("PoolTimeout"), "{}", ended.output);
    assert_eq!(ended.stats.timeouts, 1);
    drop(held);
    lab.run("contract_summaries").go_blocking().succeeds();
}
