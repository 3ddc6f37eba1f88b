//! What etcd counts itself, read from its `/metrics`.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How many messages etcd has received over gRPC, whatever they asked for: calls that ask once and what streams carry.
pub(super) async fn messages_received(endpoint: &str) -> Result<f64> {
    let text = get(endpoint).await?;
    let total = sum(&text, "grpc_server_msg_received_total");
    ensure!(total > 0.0, "{endpoint}/metrics does not count messages");
    Ok(total)
}

async fn get(endpoint: &str) -> Result<String> {
    let authority = endpoint.strip_prefix("http://").context("metrics are read without TLS only")?;
    let mut stream = TcpStream::connect(authority).await?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.0 200"), "{endpoint}/metrics does not answer");
    Ok(answer)
}

/// The sum of `name` over all of its labels.
fn sum(text: &str, name: &str) -> f64 {
    let values = text.lines().filter_map(|line| {
        let labelled = line.strip_prefix(name)?.strip_prefix('{')?;
        labelled.rsplit_once("} ")?.1.trim().parse::<f64>().ok()
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_no_other_is() {
        let text =
            "# TYPE a_total counter\na_total{method=\"x\"} 3\na_total{method=\"y\"} 1e+02\na_total_b{} 7\n";
        assert!((sum(text, "a_total") - 103.0).abs() < f64::EPSILON);
    }
}
