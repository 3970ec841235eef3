//! Kafka in KRaft mode, every broker also a controller.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::kafka_probe::living_brokers;
use crate::{
    Error, binaries,
    folder::RunFolder,
    members::Members,
    ports::free_port,
    process::{Lifetime, Program},
    server::{Place, START_ATTEMPTS_MAX, Server},
};

/// What `kafka.tools.StorageTool format` writes beside `meta.properties`: the same for every cluster of one version.
const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// The largest heap of one of Kafka's own tools, in MiB.
const TOOL_HEAP_MIB: u32 = 256;

/// How Kafka is started.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// 1 or 3. Internal topics are replicated to all.
    pub brokers: usize,
    /// The JVM's largest heap for each broker, in MiB.
    pub heap_mib: u32,
    /// Broker properties, such as `("message.max.bytes", "2000000")`; they win over the ones set here.
    pub properties: Vec<(String, String)>,
    /// More listeners for clients, on each broker: see [`Door`].
    pub doors: usize,
    /// The host that doors are advertised with; one that does not resolve leads nowhere.
    pub door_host: &'static str,
}

/// A listener that tells its clients to come back through another port, where a [`Proxy`](crate::proxy::Proxy)
/// is to listen: Kafka's clients connect to what the brokers advertise, not to what they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// Where the broker listens, and where the proxy forwards to.
    pub upstream: SocketAddr,
    /// The port that is advertised, where the proxy listens.
    pub advertised: u16,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self { brokers: 1, heap_mib: 512, properties: Vec::new(), doors: 0, door_host: "127.0.0.1" }
    }
}

/// One Kafka cluster. Topics are not created by themselves.
#[derive(Debug)]
pub struct Kafka {
    brokers: Members,
    addrs: Vec<String>,
    /// Of each broker.
    doors: Vec<Vec<Door>>,
    /// Goes after the servers that write into it.
    _folder: Option<RunFolder>,
}

#[derive(Clone)]
struct Listeners {
    clients: u16,
    controller: u16,
    doors: Vec<Door>,
}

impl Listeners {
    fn on_free_ports(doors: usize) -> Result<Self, Error> {
        let door = || {
            let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
            Ok(Door { upstream, advertised: free_port()? })
        };
        let doors = (0..doors).map(|_| door()).collect::<Result<_, Error>>()?;
        Ok(Self { clients: free_port()?, controller: free_port()?, doors })
    }

    /// `NAME://host:port` of those for clients, each with what is advertised in its place.
    fn for_clients(&self, door_host: &str) -> Vec<(String, String)> {
        let own = format!("PLAINTEXT://127.0.0.1:{}", self.clients);
        let doors = self.doors.iter().zip(1..).map(|(door, number)| {
            (
                format!("DOOR{number}://{}", door.upstream),
                format!("DOOR{number}://{door_host}:{}", door.advertised),
            )
        });
        std::iter::once((own.clone(), own)).chain(doors).collect()
    }
}

super::ends_and_pauses!(Kafka, brokers);

impl Kafka {
    /// Starts a cluster in a folder of its own and waits until all brokers are in it.
    ///
    /// # Errors
    /// If Kafka or Java is not installed, or a broker does not come up.
    pub async fn start(options: KafkaOptions) -> Result<Self, Error> {
        let folder = RunFolder::create(None)?;
        let mut kafka =
            Self::start_in(Place { folder: folder.path(), lifetime: Lifetime::Scoped }, options).await?;
        kafka._folder = Some(folder);
        Ok(kafka)
    }

    pub(crate) async fn start_in(place: Place<'_>, options: KafkaOptions) -> Result<Self, Error> {
        let bootstrap = formatted_storage(place).await?;
        let cluster_id = random_id()?;
        for node in 1..=options.brokers {
            let data = place.data(&name(node))?.join("data");
            fs::create_dir_all(&data)
                .and_then(|()| fs::copy(&bootstrap, data.join(BOOTSTRAP)))
                .and_then(|_| {
                    fs::write(
                        data.join("meta.properties"),
                        meta_properties(node, &cluster_id, &random_id_io()?),
                    )
                })
                .map_err(|source| Error::io(name(node), "its storage could not be prepared", source))?;
        }
        let mut attempt = 1;
        loop {
            let listeners = (0..options.brokers)
                .map(|_| Listeners::on_free_ports(options.doors))
                .collect::<Result<Vec<_>, Error>>()?;
            let brokers = (1..=options.brokers).map(|node| broker(place, &options, node, &listeners));
            let mut kafka = Self {
                brokers: Members::new(brokers.collect::<Result<_, _>>()?),
                addrs: listeners.iter().map(|ports| format!("127.0.0.1:{}", ports.clients)).collect(),
                doors: listeners.iter().map(|ports| ports.doors.clone()).collect(),
                _folder: None,
            };
            match kafka.restart().await {
                Err(_) if attempt < START_ATTEMPTS_MAX && kafka.brokers.port_was_taken() => attempt += 1,
                Err(error) => return Err(error),
                Ok(()) => return Ok(kafka),
            }
        }
    }

    /// `127.0.0.1:PORT`, one for each broker, separated by commas.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        self.addrs.join(",")
    }

    /// The same as a list, in the order of [`Self::brokers`].
    #[must_use]
    pub fn addrs(&self) -> &[String] {
        &self.addrs
    }

    /// The listeners of a broker that [`KafkaOptions::doors`] asked for; brokers are counted from 0.
    #[must_use]
    pub fn doors(&self, broker: usize) -> &[Door] {
        self.doors.get(broker).map_or(&[], Vec::as_slice)
    }

    /// Starts the brokers that do not run, on the same ports and data, and waits until all are in the cluster. After a
    /// kill that takes some seconds: the old registration has to run out first.
    ///
    /// # Errors
    /// If one does not come up.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.brokers.spawn()?;
        let addrs = &self.addrs;
        self.brokers.ready(async || all_know_all(addrs).await).await
    }

    /// From now on, dropping it does nothing.
    pub(crate) fn detach(&mut self) {
        self.brokers.detach();
    }

    /// Runs one of Kafka's own tools against the cluster, such as
    /// `org.apache.kafka.tools.consumer.group.ConsumerGroupCommand`; returns what it printed.
    ///
    /// # Errors
    /// If it cannot be run or fails; with what it said.
    pub async fn tool(&self, class: &str, args: &[&str]) -> Result<String, Error> {
        let server = self.bootstrap_servers();
        let output = tokio::process::Command::new(binaries::java()?)
            .args(jvm_args(TOOL_HEAP_MIB)?)
            .args([class, "--bootstrap-server", &server])
            .args(args)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| Error::io("kafka", format!("{class} could not be run"), source))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(Error::new("kafka", format!("{class} {args:?} failed: {said}{complaint}")))
    }

    /// The brokers' processes.
    #[must_use]
    pub fn brokers(&self) -> &[Server] {
        self.brokers.all()
    }

    /// One broker's process, to be killed or paused alone; counted from 0.
    ///
    /// # Errors
    /// If there is no such broker.
    pub fn broker_mut(&mut self, index: usize) -> Result<&mut Server, Error> {
        self.brokers.one(index)
    }

    /// The first broker's process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.brokers().first().and_then(Server::pid)
    }
}

async fn all_know_all(addrs: &[String]) -> Result<(), String> {
    for addr in addrs {
        let living = living_brokers(addr).await.map_err(|error| format!("{addr}: {error}"))?;
        if living < addrs.len() {
            return Err(format!("{addr} knows of {living} living brokers of {}", addrs.len()));
        }
    }
    Ok(())
}

fn name(node: usize) -> String {
    format!("kafka-{node}")
}

fn broker(
    place: Place<'_>,
    options: &KafkaOptions,
    node: usize,
    listeners: &[Listeners],
) -> Result<Server, Error> {
    let folder = place.data(&name(node))?;
    let properties = folder.join("kraft.properties");
    fs::write(&properties, broker_properties(options, node, listeners, &folder.join("data")))
        .map_err(|source| Error::io(name(node), "its properties could not be written", source))?;
    let mut args = jvm_args(options.heap_mib)?;
    args.extend(["kafka.Kafka".to_owned(), properties.display().to_string()]);
    Ok(Server::new(name(node), place.program(&name(node), binaries::java()?, args, None)?))
}

fn jvm_args(heap_mib: u32) -> Result<Vec<String>, Error> {
    let libs = binaries::kafka_libs()?;
    Ok(vec![
        "-Xms128m".to_owned(),
        format!("-Xmx{heap_mib}m"),
        "-XX:+UseSerialGC".to_owned(), // small heaps, few cores
        "-XX:+ExitOnOutOfMemoryError".to_owned(),
        "-Dorg.apache.logging.log4j.level=INFO".to_owned(), // to the console; without it only errors are logged
        "-cp".to_owned(),
        format!("{}/*", libs.display()),
    ])
}

fn broker_properties(options: &KafkaOptions, node: usize, listeners: &[Listeners], data: &Path) -> String {
    let own = &listeners[node - 1];
    let (bound, advertised): (Vec<_>, Vec<_>) = own.for_clients(options.door_host).into_iter().unzip();
    let protocols: Vec<String> =
        (1..=own.doors.len()).map(|number| format!("DOOR{number}:PLAINTEXT")).collect();
    let protocols = ["PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT"]
        .into_iter()
        .chain(protocols.iter().map(String::as_str))
        .collect::<Vec<_>>();
    let voters: Vec<String> =
        (1..).zip(listeners).map(|(node, ports)| format!("{node}@127.0.0.1:{}", ports.controller)).collect();
    let replicas = options.brokers.to_string();
    let in_sync = options.brokers.min(2).to_string();
    let own_properties = [
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", node.to_string()),
        ("controller.quorum.voters", voters.join(",")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("listeners", format!("{},CONTROLLER://127.0.0.1:{}", bound.join(","), own.controller)),
        ("advertised.listeners", advertised.join(",")),
        ("listener.security.protocol.map", protocols.join(",")),
        ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
        ("log.dirs", data.display().to_string()),
        ("auto.create.topics.enable", "false".to_owned()),
        ("default.replication.factor", replicas.clone()),
        ("offsets.topic.num.partitions", "4".to_owned()),
        ("offsets.topic.replication.factor", replicas.clone()),
        ("transaction.state.log.num.partitions", "4".to_owned()),
        ("transaction.state.log.replication.factor", replicas.clone()),
        ("transaction.state.log.min.isr", in_sync.clone()),
        ("share.coordinator.state.topic.replication.factor", replicas),
        ("share.coordinator.state.topic.min.isr", in_sync),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
        ("group.min.session.timeout.ms", "1000".to_owned()),
        // A killed broker may register again only when its old session has run out: by default, after 9 s.
        ("broker.session.timeout.ms", "3000".to_owned()),
        ("broker.heartbeat.interval.ms", "500".to_owned()),
    ];
    let own_properties = own_properties.iter().map(|(name, value)| (*name, value.as_str()));
    let given = options.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    // Of two lines with one name Java takes the later.
    own_properties.chain(given).map(|(name, value)| format!("{name}={value}\n")).collect()
}

fn meta_properties(node: usize, cluster_id: &str, directory_id: &str) -> String {
    format!("version=1\ncluster.id={cluster_id}\nnode.id={node}\ndirectory.id={directory_id}\n")
}

/// Formats a folder once for this version of Kafka, since that takes a JVM's start, and returns the file that all
/// clusters share.
async fn formatted_storage(place: Place<'_>) -> Result<PathBuf, Error> {
    let libs = binaries::kafka_libs()?;
    let template = libs.with_file_name(BOOTSTRAP);
    if template.exists() {
        return Ok(template);
    }
    let folder = place.data("kafka-format")?;
    let properties = folder.join("kraft.properties");
    let listeners = [Listeners { clients: 1, controller: 2, doors: Vec::new() }]; // named, not used
    fs::write(&properties, broker_properties(&KafkaOptions::default(), 1, &listeners, &folder.join("data")))
        .map_err(|source| Error::io("kafka-format", "its properties could not be written", source))?;
    let mut args = jvm_args(KafkaOptions::default().heap_mib)?;
    let format =
        ["kafka.tools.StorageTool", "format", "-t", &random_id()?, "-c", &properties.display().to_string()];
    args.extend(format.into_iter().map(str::to_owned));
    let program = place.program("kafka-format", binaries::java()?, args, None)?;
    Server::new("kafka-format", Program { lifetime: Lifetime::Scoped, ..program }).run_to_end().await?;
    // Another run may do the same at the same moment: whoever renames last wins, with the same contents.
    let partial = folder.join("data").join(BOOTSTRAP);
    let staged = libs.with_file_name(format!("{BOOTSTRAP}.{}", random_id()?));
    fs::copy(&partial, &staged)
        .and_then(|_| fs::rename(&staged, &template))
        .map_err(|source| Error::io("kafka-format", "the formatted storage could not be kept", source))?;
    Ok(template)
}

fn random_id() -> Result<String, Error> {
    random_id_io().map_err(|source| Error::io("kafka", "no random id could be made", source))
}

/// Kafka's ids are 16 bytes in URL-safe base64: 22 characters, the last of which holds two bits. Hexadecimal digits
/// are legal ones, and 21 of them random enough.
fn random_id_io() -> std::io::Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let digits: String = uuid.chars().filter(char::is_ascii_hexdigit).take(21).collect();
    Ok(format!("{digits}A"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listeners(clients: u16, controller: u16) -> Listeners {
        Listeners { clients, controller, doors: Vec::new() }
    }

    #[test]
    fn a_door_is_advertised_by_its_proxy_s_port() {
        let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, 3));
        let ports = Listeners { doors: vec![Door { upstream, advertised: 4 }], ..listeners(1, 2) };
        let text = broker_properties(&KafkaOptions::default(), 1, &[ports], Path::new("/data"));
        assert!(
            text.contains("listeners=PLAINTEXT://127.0.0.1:1,DOOR1://127.0.0.1:3,CONTROLLER://127.0.0.1:2\n")
        );
        assert!(text.contains("advertised.listeners=PLAINTEXT://127.0.0.1:1,DOOR1://127.0.0.1:4\n"));
        assert!(text.contains("PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DOOR1:PLAINTEXT\n"));
    }

    #[test]
    fn given_properties_come_last() {
        let options =
            KafkaOptions { properties: vec![("node.id".into(), "7".into())], ..KafkaOptions::default() };
        let text = broker_properties(&options, 1, &[listeners(1, 2)], Path::new("/data"));
        assert!(text.contains("node.id=1\n"));
        assert!(text.ends_with("node.id=7\n"));
    }

    #[test]
    fn three_brokers_vote_and_replicate() {
        let ports = [listeners(1, 11), listeners(2, 12), listeners(3, 13)];
        let options = KafkaOptions { brokers: 3, ..KafkaOptions::default() };
        let text = broker_properties(&options, 2, &ports, Path::new("/data"));
        assert!(text.contains("controller.quorum.voters=1@127.0.0.1:11,2@127.0.0.1:12,3@127.0.0.1:13\n"));
        assert!(text.contains("listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:12\n"));
        assert!(text.contains("offsets.topic.replication.factor=3\n"));
    }

    #[test]
    fn ids_have_the_length_that_kafka_demands() {
        let (one, other) = (random_id().unwrap(), random_id().unwrap());
        assert_eq!(one.len(), 22);
        assert_ne!(one, other);
    }
}
