//! Connections to a server of a test, the Hub or another. It stands here because the Hub is a program as
//! well, which finds its modules below itself.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// The next connection. Without a free file descriptor, which another test of this process may be about to
/// close, there is none for now, which is no reason to serve nobody ever after.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
