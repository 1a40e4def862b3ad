// Sends one request as the README shows, waits for its outcome, and prints it.
import celery from "celery-node";

const [url, requestId] = process.argv.slice(2);
const client = celery.createClient(url, url, "scaleout");
const task = client.createTask("scaleout.add_nodes");
const request = { request_id: requestId, cluster_id: "ehpc-node0001", zone: "jn1a", node_count: 2 };
const result = task.applyAsync([], request);
const outcome = await result.get(60_000);
console.log(JSON.stringify(outcome));
client.disconnect();
