//! peers/tokio: hyper's HTTP hello, parsed for real, and tokio's echo, both on the current_thread runtime.
//!
//!   tokio_server http|echo PORT

use hyper::service::{make_service_fn, service_fn};
use hyper::{header, Body, Request, Response, Server};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn hello(_: Request<Body>) -> Result<Response<Body>, hyper::http::Error> {
    Response::builder().header(header::CONTENT_TYPE, "text/plain").body(Body::from("Hello, World!"))
}

async fn serve_http(address: SocketAddr) {
    let service = make_service_fn(|_| async { Ok::<_, hyper::http::Error>(service_fn(hello)) });
    Server::bind(&address).tcp_nodelay(true).http1_pipeline_flush(true).serve(service).await.unwrap();
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0u8; 65536];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n]).await?;
    }
}

async fn serve_echo(address: SocketAddr) {
    let listener = TcpListener::bind(address).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(echo(stream));
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 3 {
        eprintln!("usage: tokio_server http|echo PORT");
        std::process::exit(2);
    }
    let address: SocketAddr = format!("127.0.0.1:{}", arguments[2]).parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if arguments[1] == "echo" {
        runtime.block_on(serve_echo(address));
    } else {
        runtime.block_on(serve_http(address));
    }
}
