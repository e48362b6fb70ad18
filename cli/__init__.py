"""The torii command: starts either door or a whole gateway, and works on the stores. Holds no rule of the house."""
