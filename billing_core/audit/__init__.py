"""The auditor: it reads an org's journal, keeps tables of its own, and says where a store differs.

It follows what is on record and takes no decision again.  With who decides it shares prices,
values, names of kinds, and from when on something counts: no arithmetic of the ledger.
"""
