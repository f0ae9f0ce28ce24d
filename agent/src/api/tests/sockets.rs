//! Who can connect, and where.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[tokio::test]
async fn only_the_owner_can_open_the_socket() {
    let world = World::new().await;
    let mode = std::fs::metadata(world.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("landfall.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = Listener::unix(&path).await.unwrap();
    let error = Listener::unix(&path).await.unwrap_err();
    assert!(matches!(error, ListenError::InUse(_)), "{error}");
    drop(listener);
    assert!(!path.exists());

    std::fs::write(&path, "precious").unwrap();
    let error = Listener::unix(&path).await.unwrap_err();
    assert!(matches!(error, ListenError::NotASocket(_)), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let long = folder.path().join("x".repeat(120));
    let error = Listener::unix(&long).await.unwrap_err().to_string();
    assert!(error.contains("107 bytes"), "{error}");
}

#[tokio::test]
async fn over_tcp_the_token_is_asked_for() {
    let node = Memory::default();
    let (_stop, stopped) = watch::channel(false);
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.tcp_address().unwrap();
    let access = (Access::Bearer("right".into()), Arc::default());
    let connections = Arc::new(Semaphore::new(8));
    tokio::spawn(serve(listener, access, node, RECORD_BYTES_MAX, connections, stopped));
    for wrong in ["", "righ", "rights", "wrong"] {
        let client = Client::new(Target::Tcp(address, wrong.into()));
        let error = refusal(client.status().await.unwrap_err());
        assert_eq!(error.code, ErrorCode::Unauthorized);
    }
    let client = Client::new(Target::Tcp(address, "right".into()));
    assert_eq!(client.status().await.unwrap().site, "ship-17");
    let outside = Listener::tcp("0.0.0.0:0".parse().unwrap()).await;
    assert!(matches!(outside, Err(ListenError::Tcp(..))));
}

#[tokio::test]
async fn a_node_in_the_same_process_needs_no_socket() {
    let node = Memory::default();
    let (_stop, stopped) = watch::channel(false);
    let connect = move || {
        let (client, server) = tokio::io::duplex(64 << 10);
        tokio::spawn(serve_connection(server, node.clone(), RECORD_BYTES_MAX, stopped.clone()));
        client
    };
    let client = Client::new(Target::InProcess(Arc::new(connect)));
    let body = Full::new(Bytes::from(lines(3_000)));
    let (_, done) = rest(client.append("ais", "", body).await.unwrap()).await;
    assert_eq!(done.unwrap().records, 3_000);
    let missing = Client::new(Target::Unix("/nonexistent/landfall.sock".into()));
    let error = missing.status().await.unwrap_err();
    assert!(error.to_string().contains("no node answers at /nonexistent"), "{error}");
}

/// Asks for a line of a topic to be written, with lines of a head; gives the status.
async fn write_line(mut stream: impl Talk, topic: &str, head: &str) -> String {
    let line = format!("POST /v1/topics/{topic}/records HTTP/1.0\r\ncontent-length: 2\r\n");
    ask(&mut stream, &format!("{line}{head}\r\n1\n")).await
}

async fn ask(stream: &mut impl Talk, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

trait Talk: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Talk for T {}

#[tokio::test]
async fn a_topic_is_written_by_its_writers_alone() {
    use tokio::net::{TcpStream, UnixStream};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("landfall.sock");
    let mut applications = Applications::default();
    applications.add_user(rustix::process::getuid().as_raw(), "own");
    applications.add_user(u32::MAX - 1, "other");
    applications.add_token("navigator's".into(), "nav");
    for (topic, writers) in [("mine", ["own"]), ("theirs", ["other"]), ("course", ["nav"])] {
        applications.set_writers(topic, &writers.map(str::to_owned));
    }
    let applications = Arc::new(applications);
    let (_stop, stopped) = watch::channel(false);
    let unix = Listener::unix(&path).await.unwrap();
    let tcp = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = tcp.tcp_address().unwrap();
    let accesses = [Access::Everyone, Access::Bearer("operator's".into())];
    let places = Arc::new(Semaphore::new(8));
    for (listener, access) in [unix, tcp].into_iter().zip(accesses) {
        let rules = (access, applications.clone());
        let node = Memory::default();
        tokio::spawn(serve(
            listener,
            rules,
            node,
            RECORD_BYTES_MAX,
            places.clone(),
            stopped.clone(),
        ));
    }
    let nav = "authorization: Bearer navigator's\r\n";
    let operator = "authorization: Bearer operator's\r\n";
    let cases = [
        ("mine", "", "200"),
        ("theirs", "", "403"),
        ("course", "", "403"),
        ("course", nav, "200"),
        ("mine", nav, "403"),
        ("all", "", "200"),
        ("all", nav, "200"),
    ];
    for (topic, head, status) in cases {
        let stream = UnixStream::connect(&path).await.unwrap();
        assert_eq!(write_line(stream, topic, head).await, status, "{topic} {head}");
    }
    for (topic, head, status) in [("course", nav, "200"), ("course", operator, "403")] {
        let stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(write_line(stream, topic, head).await, status, "{topic} {head}");
    }
    let both = "{\"records\":[{\"topic\":\"all\",\"value\":1},{\"topic\":\"mine\",\"value\":1}]}";
    let group = format!("POST /v1/groups HTTP/1.0\r\ncontent-length: {}\r\n", both.len());
    let mut stream = UnixStream::connect(&path).await.unwrap();
    assert_eq!(ask(&mut stream, &format!("{group}{nav}\r\n{both}")).await, "403");
    for (head, status) in [(nav, "403"), (operator, "200")] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let sites = format!("GET /v1/sites HTTP/1.0\r\n{head}\r\n");
        assert_eq!(ask(&mut stream, &sites).await, status, "{head}");
    }
}
