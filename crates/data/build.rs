//! `sqlx::migrate!` embeds the migrations when the crate is compiled, but does not notice new ones.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
