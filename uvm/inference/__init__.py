"""The UVM's side of the inference workers: `client` asks and hears, `balancer` decides whom. In: questions. Out: answers, once each."""
