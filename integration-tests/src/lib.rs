//! callsign on real servers: started, killed, frozen, wiped and cut off.
