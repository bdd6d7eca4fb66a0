//! The bare store: swallows what is put, answers a GET with as many zeroes as the last segment of its path
//! says, and costs as little as it can.

use std::io;

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use crate::http::Input;

/// First argument of the process.
pub(crate) const ROLE: &str = "as-peer";

/// What GETs are answered from.
static ZEROES: [u8; 1 << 20] = [0; 1 << 20];

/// Up to here head and body leave in one write.
const SMALL_BYTES_MAX: usize = 16 * 1024;

/// Says its port on standard output and serves until it is killed.
pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                // A proxy that goes away is no news.
                let _ = serve(stream).await;
            });
        }
    });
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut input = Input::new();
    while let Some(head) = input.head(&mut stream).await? {
        input.swallow(&mut stream, head.content_bytes).await?;
        let mut words = head.first_line.split(' ');
        let (method, target) = (words.next(), words.next().unwrap_or_default());
        let path = target.split('?').next().unwrap_or_default();
        let mut left = match method {
            Some("GET") => path.rsplit('/').next().and_then(|size| size.parse().ok()).unwrap_or(0),
            _ => 0,
        };
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {left}\r\netag: \"d41d8cd98f00b204e9800998ecf8427e\"\r\n\
             last-modified: Sat, 21 Nov 2026 08:00:00 GMT\r\ncontent-type: application/octet-stream\r\n\
             server: peer\r\nx-amz-request-id: 0123456789ABCDEF\r\n\r\n"
        )
        .into_bytes();
        if left <= SMALL_BYTES_MAX {
            answer.resize(answer.len() + left, 0);
            left = 0;
        }
        stream.write_all(&answer).await?;
        while left > 0 {
            let piece = ZEROES.get(..left.min(ZEROES.len())).unwrap_or_default();
            stream.write_all(piece).await?;
            left -= piece.len();
        }
    }
    Ok(())
}
