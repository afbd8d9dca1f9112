"""`make chaos`: real worker processes, a real Valkey, a provider, a directory and an upstream, and between them links that break.

judging      what one answer means, and what a row comes to (pure)
people       who is signed in, and what is known about it: live, being signed out, over
links        TCP links that delay, stall, reset, cut short and swallow, with counters
upstream     the application: it says whom the gateway named to it
wire         a keep-alive client that tells apart how a connection failed
replica      `doorward run`: two of them, four workers each
stage        everything that runs, and where it can be reached
load         requests with canaries, sign-outs and sign-ins while something is broken
trial        one fault under that load: before, during, until all is well again
redis_faults, link_faults, party_faults, process_faults    the faults, each with the proof that it took place
standing     WebSockets and event streams that stay open
latency      from a revoke in one process to the refusal in all workers
crowd        very many sessions: bytes, listing, ending
soak         minutes at half of the capacity: what grows
table        what is printed
"""
