//! Clippy refuses the driver types whose behaviour breaks the pipeline's promises. The expectation below is
//! unfulfilled, and so fails the lint run, as soon as clippy stops refusing.

#[expect(clippy::disallowed_types, reason = "shows that clippy refuses the stream that resumes by itself")]
type SelfResuming = mongodb::change_stream::ChangeStream<bson::RawDocumentBuf>;

#[test]
fn the_banned_type_exists_under_this_path() {
    // A renamed type would make the ban empty.
    assert!(std::any::type_name::<SelfResuming>().contains("ChangeStream"));
}
