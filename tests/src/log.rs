//! The broker from its own side: topics made, deleted, grown and trimmed, and messages put straight into them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use crate::Failure;
use crate::messages::Spelled;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A cluster's topics.
pub struct Log {
    brokers: String,
    admin: AdminClient<DefaultClientContext>,
    producer: BaseProducer,
}

impl Log {
    /// # Errors
    /// Whatever the client says.
    pub fn new(brokers: &str) -> Result<Self, Failure> {
        let admin = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("message.max.bytes", "4000000")
            .set("linger.ms", "5")
            .create()?;
        Ok(Self { brokers: brokers.to_owned(), admin, producer })
    }

    /// Makes a topic with settings of its own, and waits until it is there.
    ///
    /// # Errors
    /// Whatever the broker says.
    pub async fn create(
        &self,
        topic: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<(), Failure> {
        self.create_as(topic, partitions, TopicReplication::Fixed(1), settings).await
    }

    /// The same with as many replicas as the brokers make by themselves.
    ///
    /// # Errors
    /// Whatever the broker says.
    pub async fn create_replicated(
        &self,
        topic: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<(), Failure> {
        self.create_as(topic, partitions, TopicReplication::Fixed(-1), settings).await
    }

    async fn create_as(
        &self,
        topic: &str,
        partitions: i32,
        replication: TopicReplication<'_>,
        settings: &[(&str, &str)],
    ) -> Result<(), Failure> {
        let mut new = NewTopic::new(topic, partitions, replication);
        for (name, value) in settings {
            new = new.set(name, value);
        }
        for answer in self.admin.create_topics([&new], &options()).await? {
            answer.map_err(|(topic, code)| format!("{topic} could not be made: {code}"))?;
        }
        let count = usize::try_from(partitions)?;
        for _ in 0..100 {
            // A partition whose leader is not known yet has no bounds to tell.
            if self.bounds(topic).is_ok_and(|bounds| bounds.len() == count) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("{topic} did not come up").into())
    }

    /// Deletes a topic, and waits until it is gone.
    ///
    /// # Errors
    /// Whatever the broker says.
    pub async fn delete(&self, topic: &str) -> Result<(), Failure> {
        for answer in self.admin.delete_topics(&[topic], &options()).await? {
            answer.map_err(|(topic, code)| format!("{topic} could not be deleted: {code}"))?;
        }
        Ok(())
    }

    /// Lets a topic have more partitions.
    ///
    /// # Errors
    /// Whatever the broker says.
    pub async fn grow(&self, topic: &str, partitions: usize) -> Result<(), Failure> {
        let more = NewPartitions::new(topic, partitions);
        for answer in self.admin.create_partitions([&more], &options()).await? {
            answer.map_err(|(topic, code)| format!("{topic} could not grow: {code}"))?;
        }
        Ok(())
    }

    /// Sets one of a topic's settings.
    ///
    /// # Errors
    /// Whatever the broker says.
    pub async fn set(&self, topic: &str, name: &str, value: &str) -> Result<(), Failure> {
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        for answer in self.admin.alter_configs([&change], &options()).await? {
            answer.map_err(|(_, code)| format!("{topic}: {name} was not set: {code}"))?;
        }
        Ok(())
    }

    /// Deletes a partition's records below an offset, as retention does.
    ///
    /// # Errors
    /// Whatever the broker says.
    pub async fn trim(&self, topic: &str, partition: i32, offset: i64) -> Result<(), Failure> {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        self.admin.delete_records(&before, &options()).await?;
        Ok(())
    }

    /// Each partition's first offset and end; empty where there is no such topic.
    ///
    /// # Errors
    /// Whatever the broker says.
    pub fn bounds(&self, topic: &str) -> Result<Vec<(i64, i64)>, Failure> {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.brokers).create()?;
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        (0..i32::try_from(count)?)
            .map(|partition| Ok(consumer.fetch_watermarks(topic, partition, TIMEOUT)?))
            .collect()
    }

    /// Puts a message into a partition, without waiting.
    ///
    /// # Errors
    /// Whatever the client says, but for a full queue, which is waited for.
    pub fn put(&self, topic: &str, partition: i32, message: &Spelled) -> Result<(), Failure> {
        for _ in 0..1_000 {
            let record =
                BaseRecord::to(topic).partition(partition).key(&message.key).payload(&message.value).headers(
                    OwnedHeaders::new()
                        .insert(Header { key: "cdc-position", value: Some(&message.position) }),
                );
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(Duration::from_millis(10));
                }
                // The topic has grown, or was made anew.
                Err((
                    KafkaError::MessageProduction(
                        RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::UnknownTopic,
                    ),
                    _,
                )) => {
                    self.producer.client().fetch_metadata(Some(topic), TIMEOUT)?;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
        Err(format!("{topic}/{partition} takes nothing").into())
    }

    /// Puts an empty message and waits for what the brokers say of it, without a retry.
    ///
    /// # Errors
    /// If nothing can be sent at all.
    pub fn try_put(&self, topic: &str) -> Result<Taken, Failure> {
        let producer: BaseProducer<Answers> = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("acks", "all")
            .set("retries", "0")
            .set("message.timeout.ms", "5000")
            .create_with_context(Answers::default())?;
        let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).key("").payload("");
        producer.send(record).map_err(|(error, _)| error)?;
        producer.flush(TIMEOUT)?;
        let answer = producer.context().last.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(answer.unwrap_or(Taken::Unanswered))
    }

    /// Waits until all that was put is acknowledged.
    ///
    /// # Errors
    /// If it is not.
    pub fn flush(&self) -> Result<(), Failure> {
        Ok(self.producer.flush(TIMEOUT)?)
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The brokers have it.
    Yes,
    /// Fewer replicas are in sync than the topic asks for.
    TooFewReplicas,
    /// Any other refusal, or none within its time.
    Unanswered,
}

#[derive(Default)]
struct Answers {
    last: Mutex<Option<Taken>>,
}

impl ClientContext for Answers {}

impl ProducerContext for Answers {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let taken = match result {
            Ok(_) => Taken::Yes,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::NotEnoughReplicas), _)) => {
                Taken::TooFewReplicas
            }
            Err(_) => Taken::Unanswered,
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT))
}
