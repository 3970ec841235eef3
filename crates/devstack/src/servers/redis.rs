//! Redis with an append-only file.

use std::path::Path;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Error, binaries,
    folder::RunFolder,
    ports::free_port,
    process::Lifetime,
    server::{Place, START_ATTEMPTS_MAX, Server},
};

/// How Redis is started.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// More arguments for `redis-server`, such as `["--appendfsync", "always"]`.
    pub args: Vec<String>,
}

/// One Redis server, append-only file on, its data in a folder of the run.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    port: u16,
    /// Goes after the server that writes into it.
    _folder: Option<RunFolder>,
}

super::ends_and_pauses!(Redis, server);

impl Redis {
    /// Starts a server in a folder of its own and waits until it answers.
    ///
    /// # Errors
    /// If Redis is not installed or does not come up.
    pub async fn start(options: RedisOptions) -> Result<Self, Error> {
        let folder = RunFolder::create(None)?;
        let mut redis =
            Self::start_in(Place { folder: folder.path(), lifetime: Lifetime::Scoped }, options).await?;
        redis._folder = Some(folder);
        Ok(redis)
    }

    pub(crate) async fn start_in(place: Place<'_>, options: RedisOptions) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            let port = free_port()?;
            let mut redis = Self { server: server(place, &options, port)?, port, _folder: None };
            match redis.restart().await {
                Err(_) if attempt < START_ATTEMPTS_MAX && redis.server.port_was_taken() => attempt += 1,
                Err(error) => return Err(error),
                Ok(()) => return Ok(redis),
            }
        }
    }

    /// `redis://127.0.0.1:PORT/0`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.addr())
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it, if it does not run, on the same port and data, and waits until it answers.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.server.spawn()?;
        let addr = self.addr();
        self.server.ready(async || ping(&addr).await).await
    }

    /// From now on, dropping it does nothing.
    pub(crate) fn detach(&mut self) {
        self.server.detach();
    }

    /// The process.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Path {
        self.server.log()
    }
}

fn server(place: Place<'_>, options: &RedisOptions, port: u16) -> Result<Server, Error> {
    let data = place.data("redis")?;
    let mut args: Vec<String> = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]
        .into_iter()
        .chain(["--appendonly", "yes", "--daemonize", "no", "--dir"])
        .map(str::to_owned)
        .collect();
    args.push(data.display().to_string());
    args.extend(options.args.iter().cloned());
    Ok(Server::new("redis", place.program("redis", binaries::redis_server()?, args, None)?))
}

/// `-LOADING` while it reads its file, `+PONG` from then on.
async fn ping(addr: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect(addr).await.map_err(|error| error.to_string())?;
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").await.map_err(|error| error.to_string())?;
    let mut reply = [0; 128];
    let length = stream.read(&mut reply).await.map_err(|error| error.to_string())?;
    let reply = &reply[..length];
    if reply.starts_with(b"+PONG") {
        Ok(())
    } else {
        Err(format!("PING was answered by {:?}", String::from_utf8_lossy(reply)))
    }
}
