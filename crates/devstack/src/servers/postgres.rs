//! PostgreSQL with a fresh cluster.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use tokio_postgres::{Config, NoTls};

use crate::{
    Error, binaries,
    folder::RunFolder,
    ports::free_port,
    process::{Lifetime, Program, User},
    server::{Place, START_ATTEMPTS_MAX, Server},
};

const SUPERUSER: &str = "postgres";
const HOST: &str = "127.0.0.1";
/// A socket's path fits into 107 bytes (unix(7)), its name `.s.PGSQL.NNNNN` included.
const SOCKET_FOLDER_MAX: usize = 90;
/// Other than root, whom PostgreSQL refuses.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// How PostgreSQL is started.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Settings as in `postgresql.conf`, such as `("max_connections", "20")`.
    pub settings: Vec<(String, String)>,
    /// Do not wait for the disk. Faster, and without effect on what survives a killed process (only on a crash of the
    /// whole machine); off by default, because it is no setting that anybody measures with.
    pub without_fsync: bool,
}

/// One PostgreSQL server with a fresh cluster, `trust` authentication and the superuser `postgres`.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    port: u16,
    data: PathBuf,
    user: Option<User>,
    socket_folder: Option<PathBuf>,
    /// Where the data is, if the run's folder cannot be reached by the user that the server runs as.
    elsewhere: Option<RunFolder>,
    /// Goes after the server that writes into it.
    _folder: Option<RunFolder>,
}

super::ends_and_pauses!(Postgres, server);

impl Postgres {
    /// Makes a cluster in a folder of its own, starts the server and waits until it answers.
    ///
    /// # Errors
    /// If PostgreSQL is not installed or does not come up.
    pub async fn start(options: PostgresOptions) -> Result<Self, Error> {
        let folder = RunFolder::create(None)?;
        let mut postgres =
            Self::start_in(Place { folder: folder.path(), lifetime: Lifetime::Scoped }, options).await?;
        postgres._folder = Some(folder);
        Ok(postgres)
    }

    pub(crate) async fn start_in(place: Place<'_>, options: PostgresOptions) -> Result<Self, Error> {
        let cluster = Cluster::create(place).await?;
        let mut attempt = 1;
        let (server, port) = loop {
            let port = free_port()?;
            let mut server = cluster.server(place, &options, port)?;
            server.spawn()?;
            match server.ready(async || answers(port).await).await {
                Err(_) if attempt < START_ATTEMPTS_MAX && server.port_was_taken() => attempt += 1,
                Err(error) => return Err(error),
                Ok(()) => break (server, port),
            }
        };
        Ok(Self {
            server,
            port,
            data: cluster.data,
            user: cluster.user,
            socket_folder: cluster.socket_folder,
            elsewhere: cluster.elsewhere,
            _folder: None,
        })
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(self.database())
    }

    /// The same for another database.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@{HOST}:{}/{database}", self.port)
    }

    /// `127.0.0.1`.
    #[must_use]
    pub fn host(&self) -> &'static str {
        HOST
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser, who needs no password.
    #[must_use]
    pub fn user(&self) -> &'static str {
        SUPERUSER
    }

    /// The user and the group that it runs as, where they are not this process's.
    #[must_use]
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.user.map(|user| (user.uid, user.gid))
    }

    /// The database that exists from the start.
    #[must_use]
    pub fn database(&self) -> &'static str {
        "postgres"
    }

    /// The folder of the Unix socket; `None` where the path would be too long for one.
    #[must_use]
    pub fn socket_folder(&self) -> Option<&Path> {
        self.socket_folder.as_deref()
    }

    /// The folder of its data, if that is not below the run's own.
    pub(crate) fn elsewhere(&self) -> Option<&Path> {
        self.elsewhere.as_ref().map(RunFolder::path)
    }

    /// Runs statements without parameters, separated by semicolons, as the superuser.
    ///
    /// # Errors
    /// PostgreSQL's, with the failing statement's message.
    pub async fn execute(&self, sql: &str) -> Result<(), Error> {
        let client = connect(self.port).await.map_err(|source| self.error("refused a connection", source))?;
        client.batch_execute(sql).await.map_err(|source| {
            let message = source.as_db_error().map_or_else(|| source.to_string(), ToString::to_string);
            self.error(&format!("refused a statement: {message}"), source)
        })
    }

    /// Starts it, if it does not run, on the same port and data, and waits until it answers (after recovery, if it was
    /// killed).
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.server.spawn()?;
        let port = self.port;
        self.server.ready(async || answers(port).await).await
    }

    /// Ends it in order and starts it as a standby, which reads and does not write until `pg_promote()`: what
    /// clients meet behind an address that has moved too early.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn restart_as_standby(&mut self) -> Result<(), Error> {
        self.server.stop().await?;
        let signal = self.data.join("standby.signal");
        fs::write(&signal, b"")
            .and_then(|()| {
                self.user
                    .map_or(Ok(()), |user| std::os::unix::fs::chown(&signal, Some(user.uid), Some(user.gid)))
            })
            .map_err(|source| Error::io("postgres", "standby.signal could not be written", source))?;
        self.restart().await
    }

    /// Takes a copy of its data while it runs, as a standby begins with one.
    ///
    /// # Errors
    /// If `pg_basebackup` says no.
    pub async fn back_up(&self) -> Result<(), Error> {
        let copy = self.copy();
        drop(fs::remove_dir_all(&copy));
        let port = self.port.to_string();
        let copy = copy.display().to_string();
        let args = [
            "-D",
            &copy,
            "-h",
            HOST,
            "-p",
            &port,
            "-U",
            SUPERUSER,
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
        ];
        let program = Program {
            path: binaries::postgres_bin()?.join("pg_basebackup"),
            args: args.into_iter().map(str::to_owned).collect(),
            env: Vec::new(),
            folder: self.data.parent().unwrap_or(&self.data).to_path_buf(),
            log: self.log().with_file_name("postgres-basebackup.log"),
            user: self.user,
            lifetime: Lifetime::Scoped,
        };
        Server::new("pg_basebackup", program).run_to_end().await
    }

    /// Dies, and another server comes up from its copy on the same port: what was committed since is gone, as with a
    /// standby that was behind.
    ///
    /// # Errors
    /// If there is no copy, or it does not come up.
    pub async fn fall_back(&mut self) -> Result<(), Error> {
        self.server.kill().await;
        fs::remove_dir_all(&self.data)
            .and_then(|()| fs::rename(self.copy(), &self.data))
            .map_err(|source| Error::io("postgres", "its copy could not take its place", source))?;
        self.restart().await
    }

    fn copy(&self) -> PathBuf {
        self.data.with_file_name("copy")
    }

    /// From now on, dropping it does nothing.
    pub(crate) fn detach(&mut self) {
        self.server.detach();
        if let Some(folder) = &mut self.elsewhere {
            folder.keep();
        }
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

    fn error(&self, message: &str, source: tokio_postgres::Error) -> Error {
        Error::new(self.server.name(), message).with_source(source).with_log(self.log())
    }
}

/// A cluster's folders and owner, before its server runs.
struct Cluster {
    bin: PathBuf,
    data: PathBuf,
    user: Option<User>,
    socket_folder: Option<PathBuf>,
    elsewhere: Option<RunFolder>,
}

impl Cluster {
    async fn create(place: Place<'_>) -> Result<Self, Error> {
        let bin = binaries::postgres_bin()?;
        let user = server_user()?;
        let mut folder = place.data("postgres")?;
        let mut elsewhere = None;
        if user.is_some() && !reachable_by_others(&folder) {
            let parent = std::env::temp_dir().join("cdc-devstack");
            let reachable = RunFolder::create(Some(&parent))?;
            folder = reachable.path().to_path_buf();
            elsewhere = Some(reachable);
        }
        if let Some(user) = user {
            std::os::unix::fs::chown(&folder, Some(user.uid), Some(user.gid)).map_err(|source| {
                Error::io("postgres", "its folder could not be given to its user", source)
            })?;
        }
        let data = folder.join("data");
        let socket_folder = Some(folder).filter(|folder| folder.as_os_str().len() <= SOCKET_FOLDER_MAX);
        let cluster = Self { bin, data, user, socket_folder, elsewhere };
        cluster.initdb(place).await?;
        Ok(cluster)
    }

    async fn initdb(&self, place: Place<'_>) -> Result<(), Error> {
        let data = self.data.display().to_string();
        let args =
            ["-D", &data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"];
        let program = Program {
            log: place.log("postgres-initdb"),
            lifetime: Lifetime::Scoped,
            ..self.program(place, "initdb", args.into_iter().map(str::to_owned).collect())
        };
        let mut server = Server::new("initdb", program);
        server.run_to_end().await
    }

    fn server(&self, place: Place<'_>, options: &PostgresOptions, port: u16) -> Result<Server, Error> {
        let mut settings = vec![
            ("listen_addresses".to_owned(), HOST.to_owned()),
            ("port".to_owned(), port.to_string()),
            (
                "unix_socket_directories".to_owned(),
                self.socket_folder.as_deref().map_or_else(String::new, |folder| folder.display().to_string()),
            ),
        ];
        if options.without_fsync {
            let off = ["fsync", "synchronous_commit", "full_page_writes"];
            settings.extend(off.into_iter().map(|name| (name.to_owned(), "off".to_owned())));
        }
        settings.extend(options.settings.iter().cloned());
        let mut args = vec!["-D".to_owned(), self.data.display().to_string()];
        args.extend(
            settings.into_iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]),
        );
        // SIGTERM waits until every client has left; SIGINT sends them away.
        Ok(Server::new("postgres", self.program(place, "postgres", args)).stopped_by(Signal::INT))
    }

    fn program(&self, place: Place<'_>, name: &str, args: Vec<String>) -> Program {
        Program {
            path: self.bin.join(name),
            args,
            env: Vec::new(),
            folder: self.data.parent().unwrap_or(&self.data).to_path_buf(),
            log: place.log("postgres"),
            user: self.user,
            lifetime: place.lifetime,
        }
    }
}

/// PostgreSQL refuses to run as root: then it becomes another user, otherwise the one that runs the tests.
fn server_user() -> Result<Option<User>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    UNPRIVILEGED.into_iter().find_map(User::named).map(Some).ok_or_else(|| {
        Error::new(
            "postgres",
            format!("refuses to run as root, and /etc/passwd names none of {UNPRIVILEGED:?}"),
        )
    })
}

/// Whether every folder on the way lets other users pass; root's home does not.
fn reachable_by_others(path: &Path) -> bool {
    const OTHERS_MAY_PASS: u32 = 0o001;
    path.ancestors().all(|folder| fs::metadata(folder).is_ok_and(|found| found.mode() & OTHERS_MAY_PASS != 0))
}

async fn connect(port: u16) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) =
        Config::new().host(HOST).port(port).user(SUPERUSER).dbname("postgres").connect(NoTls).await?;
    // It ends with the client; its error is the client's next one.
    tokio::spawn(connection);
    Ok(client)
}

async fn answers(port: u16) -> Result<(), String> {
    let client = connect(port).await.map_err(|error| error.to_string())?;
    client.simple_query("SELECT 1").await.map_err(|error| error.to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn sees_a_folder_that_others_cannot_enter() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(reachable_by_others(&inner));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!reachable_by_others(&inner));
    }
}
