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
    let access = Access::Bearer("right".into());
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
