"""vLLM behind the engine contract. vLLM itself is imported only where it starts: `local` for an engine in this
process, `worker` inside vLLM's own; `server` reaches a running one over HTTP and needs no vLLM here."""
