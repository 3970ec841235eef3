use std::time::Duration;

use cdc_machine::Fault;
use cdc_ports::{Failure, StoreIdentity};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    Script,
};
use secrecy::{ExposeSecret, SecretString};

use crate::classify::redis_fault;
use crate::register::{Expected, Reading, Register, Swap};
use crate::store::LeasedStore;

/// How long a connection may take to come about, greeting and authentication included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer may take. The crate's own default of half a second is shorter than an fsync on a busy
/// disk.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_PORT: u16 = 6379;

/// Compare-and-set with the server's clock, in one step. `ARGV[1]` says how the present value is compared with
/// `ARGV[2]` (`absent`: there is none, `stamp`: it begins so, `exactly`), `ARGV[3]` is the new value. Answers
/// {done, milliseconds, present value}.
const SWAP: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local current = redis.call('GET', KEYS[1])
local expected = ARGV[2]
local same
if current == false or ARGV[1] == 'absent' then
  same = current == false and ARGV[1] == 'absent'
elseif ARGV[1] == 'stamp' then
  same = string.sub(current, 1, string.len(expected)) == expected
else
  same = current == expected
end
if not same then
  return {0, now, current}
end
redis.call('SET', KEYS[1], ARGV[3])
return {1, now, false}
";

/// The value and the server's clock in one step.
const READ: &str = r"
local time = redis.call('TIME')
return {time[1] * 1000 + math.floor(time[2] / 1000), redis.call('GET', KEYS[1])}
";

/// Where the record is kept in Redis.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// `host:port`, or `host` for the default port 6379.
    pub addr: String,
    /// The ACL user; `None` for the default user.
    pub username: Option<String>,
    /// The password; `None` or empty where the server asks for none.
    pub password: Option<SecretString>,
    /// The number of the database.
    pub db: i64,
    /// The key that holds the record, as a string.
    pub key: String,
}

/// The token store in Redis: one key, readable with `GET`.
pub type RedisStore = LeasedStore<RedisRegister>;

impl RedisStore {
    /// A store at `settings` for `instance`. Connects at its first call.
    ///
    /// # Errors
    /// `Fatal` where the address is not one.
    pub fn new(
        settings: RedisSettings,
        identity: StoreIdentity,
        instance: impl Into<String>,
    ) -> Result<Self, Failure> {
        Self::over(RedisRegister::new(settings)?, identity, instance)
    }
}

/// One Redis key as a [`Register`]. A connection that failed is dropped, and the next call makes another.
pub struct RedisRegister {
    client: Client,
    key: String,
    place: String,
    connection: Option<MultiplexedConnection>,
    /// Whether a person was told already what this server may do to the key.
    is_examined: bool,
    read: Script,
    swap: Script,
}

impl RedisRegister {
    /// A register over `settings.key`. Connects at its first call.
    ///
    /// # Errors
    /// `Fatal` where the address is not one.
    pub fn new(settings: RedisSettings) -> Result<Self, Failure> {
        let RedisSettings { addr, username, password, db, key } = settings;
        let invalid = |what: String| Failure::new(Fault::Fatal, "redis_connect", what);
        let (host, port) = split_address(&addr)
            .ok_or_else(|| invalid(format!("token_storage.redis.addr is not host:port but `{addr}`")))?;
        let mut redis = RedisConnectionInfo::default().set_db(db);
        let password = password.filter(|password| !password.expose_secret().is_empty());
        if let Some(username) = username {
            redis = redis.set_username(username);
            // Without a password the client would not log in at all. A user that needs none takes any.
            redis = redis.set_password("");
        }
        if let Some(password) = password {
            redis = redis.set_password(password.expose_secret());
        }
        let place = format!("Redis at {host}:{port}, key {key}");
        let client = ConnectionAddr::Tcp(host, port)
            .into_connection_info()
            .map(|info| info.set_redis_settings(redis))
            .and_then(Client::open)
            .map_err(|error| {
                invalid(format!("token_storage.redis does not make a connection to {addr}")).because(error)
            })?;
        Ok(Self {
            client,
            key,
            place,
            connection: None,
            is_examined: false,
            read: Script::new(READ),
            swap: Script::new(SWAP),
        })
    }

    /// The open connection, or a new one on which both scripts are known: so that each call afterwards is
    /// one command.
    async fn connection(&mut self) -> Result<MultiplexedConnection, RedisError> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        self.read.load_async(&mut connection).await?;
        self.swap.load_async(&mut connection).await?;
        self.examine(&mut connection).await;
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    /// Warns of a server that would throw the record away to make room: to it, it is one key among many.
    async fn examine(&mut self, connection: &mut MultiplexedConnection) {
        if std::mem::replace(&mut self.is_examined, true) {
            return;
        }
        let info: Result<String, RedisError> = redis::cmd("INFO").arg("memory").query_async(connection).await;
        match info {
            Ok(info) => {
                if let Some(policy) = evicting_policy(&info) {
                    tracing::warn!(
                        operation = "token_load",
                        place = self.place,
                        policy,
                        "this server may evict the token record when its memory is full; set \
                         maxmemory-policy to noeviction, or to one of volatile-*"
                    );
                }
            }
            // Not everybody may ask, and nothing depends on it.
            Err(error) => tracing::debug!(operation = "token_load", %error, "INFO is not answered"),
        }
    }

    fn failure(&mut self, operation: &'static str, error: RedisError) -> Failure {
        // Whatever it was, the next call begins on a connection of its own: after a time-out this one still
        // owes an answer, and behind a demoted primary's address another server may stand.
        self.connection = None;
        let fault = redis_fault(error.kind(), error.code(), error.detail());
        if let Some(words) = in_words(&error) {
            return Failure::new(fault, operation, format!("{} {words}", self.place));
        }
        let way_out = match fault {
            Fault::Auth => {
                "check token_storage.redis.username and password, and that the user may run EVALSHA, SCRIPT, GET, SET and TIME on this key"
            }
            Fault::Transient | Fault::Unreachable => "trying again",
            _ => "check that token_storage.redis.db and key name a string that nothing else writes",
        };
        Failure::new(fault, operation, format!("{} refused or did not answer; {way_out}", self.place))
            .because(error)
    }
}

/// What happened and what mends it, where the driver's text would only blur that.
fn in_words(error: &RedisError) -> Option<&'static str> {
    if error.is_connection_refusal() {
        return Some("refused the connection; start it, or correct token_storage.redis.addr");
    }
    if error.code() == Some("WRONGTYPE") {
        return Some(
            "holds something else than a string, so it is no token record; name another token_storage.redis.key",
        );
    }
    let is_out_of_range = error.to_string().contains("DB index is out of range");
    is_out_of_range.then_some(
        "has no database of that number; correct token_storage.redis.db, or raise `databases` in redis.conf",
    )
}

impl Register for RedisRegister {
    async fn read(&mut self) -> Result<Reading, Failure> {
        let answer = match self.connection().await {
            Ok(mut connection) => self.read.key(&self.key).invoke_async(&mut connection).await,
            Err(error) => Err(error),
        };
        let (now_ms, content): (i64, Option<Vec<u8>>) =
            answer.map_err(|error| self.failure("token_load", error))?;
        Ok(Reading { content, now_ms })
    }

    async fn swap(&mut self, expected: &Expected, content: &str) -> Result<Swap, Failure> {
        let (how, expected): (&str, &[u8]) = match expected {
            Expected::Absent => ("absent", b""),
            Expected::Stamp(stamp) => ("stamp", stamp.as_bytes()),
            Expected::Exactly(content) => ("exactly", content),
        };
        let answer = match self.connection().await {
            Ok(mut connection) => {
                let mut call = self.swap.key(&self.key);
                call.arg(how).arg(expected).arg(content).invoke_async(&mut connection).await
            }
            Err(error) => Err(error),
        };
        let (done, now_ms, content): (bool, i64, Option<Vec<u8>>) =
            answer.map_err(|error| self.failure("token_save", error))?;
        Ok(if done { Swap::Done { now_ms } } else { Swap::Refused(Reading { content, now_ms }) })
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn setting(&self) -> &'static str {
        "token_storage.redis.key"
    }

    fn way_back(&self) -> String {
        "restore it from a backup".to_owned()
    }
}

/// The policy by which this server would evict a key without an expiry; `None` where it would not.
fn evicting_policy(info: &str) -> Option<&str> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let is_limited = field("maxmemory").is_some_and(|bytes| bytes.trim() != "0");
    let policy = field("maxmemory_policy")?.trim();
    (is_limited && policy.starts_with("allkeys-")).then_some(policy)
}

/// `host`, `host:port`, `[::1]` or `[::1]:port`.
fn split_address(addr: &str) -> Option<(String, u16)> {
    let (host, port) = match addr.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) if rest.is_empty() || rest.starts_with(':') => (host, rest.strip_prefix(':')),
        Some(_) => return None,
        None => match addr.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (addr, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok()?,
        None => DEFAULT_PORT,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases = [
            ("localhost:6379", Some(("localhost", 6379))),
            ("redis", Some(("redis", 6379))),
            ("[::1]:7000", Some(("::1", 7000))),
            ("[::1]", Some(("::1", 6379))),
            ("localhost:", None),
            ("localhost:port", None),
            (":6379", None),
            ("::1", None),
            ("[::1]7000", None),
            ("", None),
        ];
        for (addr, expected) in cases {
            let expected = expected.map(|(host, port): (&str, u16)| (host.to_owned(), port));
            assert_eq!(split_address(addr), expected, "{addr}");
        }
    }

    #[test]
    fn only_a_full_server_with_such_a_policy_evicts_a_key_without_expiry() {
        let info = |bytes: u64, policy: &str| {
            format!("# Memory\r\nmaxmemory:{bytes}\r\nmaxmemory_human:0B\r\nmaxmemory_policy:{policy}\r\n")
        };
        assert_eq!(evicting_policy(&info(1, "allkeys-lru")), Some("allkeys-lru"));
        assert_eq!(evicting_policy(&info(1, "allkeys-random")), Some("allkeys-random"));
        for none in [info(0, "allkeys-lru"), info(1, "noeviction"), info(1, "volatile-ttl"), String::new()] {
            assert_eq!(evicting_policy(&none), None, "{none}");
        }
    }

    #[test]
    fn the_password_is_printed_nowhere() {
        let settings = RedisSettings {
            addr: "localhost:1".to_owned(),
            username: None,
            password: Some("hunter2".into()),
            db: 0,
            key: "k".to_owned(),
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
