//! The server's limits and its addresses.

use crate::config::problem::ProblemKind::{Contradiction, Duplicate};
use crate::config::report::Report;
use crate::config::{Address, Config, Server, Telemetry};

pub(super) fn check(server: &Server, report: &mut Report) {
    for (key, limit) in [
        ("max-client-requests", server.max_client_requests),
        ("max-tenant-requests", server.max_tenant_requests),
    ] {
        if limit.is_some_and(|limit| limit > server.max_requests) {
            let message = format!(
                "it is more than `max-requests`, {}, and would have no effect: write less",
                server.max_requests
            );
            report.under(key, |report| report.value(Contradiction, message));
        }
    }
}

pub(super) fn check_listeners(config: &Config, report: &mut Report) {
    for (index, listener) in config.listeners.iter().enumerate() {
        let earlier = config.listeners[..index].iter();
        let other = earlier
            .map(|other| &other.address)
            .find(|other| other.conflicts(&listener.address));
        report.under("listeners", |report| {
            report.under(index, |report| {
                report.under("address", |report| duplicate(other, report));
            });
        });
    }
    let Some(address) = &config.admin.address else {
        return;
    };
    let default = [Default::default()];
    let listeners = match config.listeners.as_slice() {
        [] => &default,
        listeners => listeners,
    };
    let mut listeners = listeners.iter().map(|listener| &listener.address);
    report.under("admin", |report| {
        report.under("address", |report| {
            duplicate(listeners.find(|other| other.conflicts(address)), report);
            if !address.is_loopback() && !config.admin.allow_other_machines {
                let message = "other machines can connect to this address, and the server asks for \
                               no password: write an address such as \"127.0.0.1:9090\", or \
                               `allow-other-machines = true`";
                report.value(Contradiction, message);
            }
        });
    });
}

pub(super) fn check_telemetry(telemetry: &Telemetry, report: &mut Report) {
    if telemetry.opentelemetry.is_some() {
        return;
    }
    let default = Telemetry::default();
    for (key, differs) in [
        (
            "service-name",
            telemetry.service_name != default.service_name,
        ),
        ("query-text", telemetry.query_text != default.query_text),
    ] {
        if differs {
            let message = "it only has an effect with `opentelemetry`: add that, or leave it out";
            report.under(key, |report| report.value(Contradiction, message));
        }
    }
}

fn duplicate(other: Option<&Address>, report: &mut Report) {
    if let Some(other) = other {
        let message = format!("a listener already has the address {other}: choose another port");
        report.value(Duplicate, message);
    }
}
