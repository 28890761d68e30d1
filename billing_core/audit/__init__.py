"""The auditor: it reads an org's journal, keeps tables of its own, and says where a store differs.

It follows what is on record and takes no decision again; it shares only values and prices with
who decides.
"""
