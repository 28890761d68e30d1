"""What a store keeps of an org, as plain values.

They know neither what decides them nor what stores them.
"""
