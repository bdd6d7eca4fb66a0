use crate::{client::Call, gate::{A, Gate, bytes}};

#[tokio::test]
async fn s() {
    let gate = Gate::start().await;
    for key in gate.both(&A).await {
        let data = bytes(100_000);
        gate.send(&key, &Call::put(&A.file("f"), data.clone())).await.ok();
        assert_eq!(gate.send(&key, &Call::get(&A.file("f")).presigned()).await.ok().body, data);
    }
}
