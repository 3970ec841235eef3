//! An authority that certifies servers, made for one test.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::Failure;

/// Whoever trusts it trusts the servers that it certifies.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a server shows, and what it proves it with; both in PEM.
pub struct Certified {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// An authority like no other.
    ///
    /// # Errors
    /// If no key is to be had.
    pub fn new() -> Result<Self, Failure> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?))
    }

    /// Its own certificate, in PEM.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// Certifies a server by this name.
    ///
    /// # Errors
    /// If it is none.
    pub fn certify(&self, name: &str) -> Result<Certified, Failure> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([name.to_owned()])?.signed_by(&key, &self.0)?;
        Ok(Certified { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}
