/**
 * The version of everything that nodes say to each other. It is part of the name of the overlay's handshake and of the keys between nodes, so
 * that nodes of different versions ignore each other: a rolling update is two clusters for its duration. Raise it with every change of the
 * node protocol that an older node would misread.
 */
export const WIRE_VERSION = 2
