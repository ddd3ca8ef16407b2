//! The text format of Prometheus.

use reef_plugin_api::{SessionStatus, Statistic, StatisticKind};
use std::fmt::Write as _;

/// The whole page.
pub(crate) fn page(statistics: &[Statistic], status: &SessionStatus) -> String {
    let mut page = String::new();
    for one in statistics {
        metric(&mut page, &one.name, one.kind, &one.doc, one.value);
    }
    let rate = |rate: u64| i64::try_from(rate).unwrap_or(i64::MAX);
    let now = [
        ("download_rate_bytes", "Payload bytes a second coming in.", status.download_rate),
        ("upload_rate_bytes", "Payload bytes a second going out.", status.upload_rate),
    ];
    for (name, doc, value) in now {
        metric(&mut page, name, StatisticKind::Gauge, doc, rate(value));
    }
    page
}

fn metric(page: &mut String, name: &str, kind: StatisticKind, doc: &str, value: i64) {
    let (kind, end) = match kind {
        StatisticKind::Counter => ("counter", "_total"),
        StatisticKind::Gauge => ("gauge", ""),
    };
    // Other characters than these have no place in a name.
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let doc = doc.replace('\\', "\\\\").replace('\n', "\\n");
    let name = format!("reef_{name}{end}");
    // Writing into a string does not fail.
    let _ = writeln!(page, "# HELP {name} {doc}\n# TYPE {name} {kind}\n{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_those_that_prometheus_takes() {
        let mut page = String::new();
        metric(&mut page, "net.recv-bytes", StatisticKind::Counter, "Bytes\nof \\ all.", 7);
        let expected = "# HELP reef_net_recv_bytes_total Bytes\\nof \\\\ all.\n# TYPE reef_net_recv_bytes_total counter\n\
                        reef_net_recv_bytes_total 7\n";
        assert_eq!(page, expected);
    }
}
