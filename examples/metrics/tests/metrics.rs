//! What the session counts is there to be read over HTTP, as long as the session is; without reef.

use metrics::{LISTENING, Metrics};
use reef_plugin_api::testing::{Action, FakeHost};
use reef_plugin_api::{Answer, Query, SessionObj, SessionStatus, Statistic, StatisticKind};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

struct Side {
    host: FakeHost,
    session: SessionObj,
    address: SocketAddr,
}

impl Side {
    fn new() -> Self {
        let host = FakeHost::new();
        let mut status = SessionStatus::default();
        status.download_rate = 1234;
        host.set_answer(Query::Session, Answer::Session(status));
        let session = host.start::<Metrics>("listen = \"127.0.0.1:0\"").expect("good settings");
        let address = host.actions().iter().find_map(|action| match action {
            Action::Alert { kind: LISTENING, message, .. } => {
                message.strip_prefix("metrics at http://")?.strip_suffix("/metrics")?.parse().ok()
            }
            _ => None,
        });
        Self { host, session, address: address.expect("it says where") }
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

#[test]
fn what_is_counted_is_served() {
    let side = Side::new();
    let page = side.ask("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{page}");
    for line in [
        "# HELP reef_metrics_scrapes_total Times that metrics were read.",
        "# TYPE reef_metrics_scrapes_total counter",
        "reef_metrics_scrapes_total 1",
        "# TYPE reef_download_rate_bytes gauge",
        "reef_download_rate_bytes 1234",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is not in {page}");
    }
    let mut one = Statistic::default();
    (one.name, one.kind, one.value) = ("ses.num_torrents".to_owned(), StatisticKind::Gauge, 3);
    side.host.set_answer(Query::Statistics, Answer::Statistics(vec![one]));
    assert!(side.ask("GET /metrics HTTP/1.0\r\n\r\n").contains("\nreef_ses_num_torrents 3\n"));
}

#[test]
fn nothing_else_is() {
    let side = Side::new();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
        (&"x".repeat(4096), "400"),
    ] {
        let answer = side.ask(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
}

#[test]
fn it_ends_while_somebody_is_connected() {
    let mut side = Side::new();
    let mut silent = TcpStream::connect(side.address).expect("it listens");
    silent.write_all(b"GET").expect("sent");
    // It waits for the thread, which waits for the rest of the request.
    side.session.abort(&side.host.session_call());
    let mut rest = Vec::new();
    // Whatever was answered, the connection ends: a reset is an end too.
    let _ = silent.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
}

#[test]
fn a_session_that_does_not_answer_is_said() {
    let side = Side::new();
    side.host.revoke();
    assert!(side.ask("GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 "));
}

#[test]
fn the_port_is_for_this_machine_alone() {
    for (settings, words) in
        [("listen = \"0.0.0.0:9464\"", "127.0.0.1"), ("listen = \"x\"", "127.0.0.1:9464"), ("lissen = 1", "lissen")]
    {
        let error = FakeHost::new().start::<Metrics>(settings).err().expect("refused");
        assert!(error.contains(words), "{settings}: {error}");
    }
}
